// What --help says, beyond the options themselves.
#pragma once

#include <CLI/Formatter.hpp>
#include <memory>
#include <string>

#include "options.h"

namespace dualvm::app {

// Lists options as design and QEMU's users spell them: -kernel with one dash, --engine with two.
std::shared_ptr<CLI::Formatter> make_formatter();

std::string short_help();  // for a command line without arguments
std::string version_text();
const char* description(Command command);
const char* footer(Command command);
const char* top_level_footer();

}  // namespace dualvm::app
