// The files that a command line names, and whether one that is written is another that is needed.
#pragma once

#include <string>

#include "options.h"

namespace dualvm::app {

// What is wrong: two options write to one file, or one writes to what another reads. Empty if nothing is. Devices and
// pipes, and what standard output and error lead to, may be named as often as one likes.
std::string what_is_wrong_with_files(const Options& options);

}  // namespace dualvm::app
