// Options that are right one by one and wrong together.
#pragma once

#include <string>

#include "options.h"

namespace dualvm::app {

// What is wrong, for a message behind the command's name; empty if nothing is.
std::string what_is_wrong_together(const Options& options);

}  // namespace dualvm::app
