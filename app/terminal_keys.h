// The terminal's keys as keys of a PC's keyboard.
#pragma once

#include <optional>

#include "key_script.h"

namespace dualvm::app {

// `code` is a character as it was read, or, if it is special, one of ncurses' KEY_ numbers. Nothing if no key of the
// PC's gives it.
std::optional<KeyStep> terminal_key(int code, bool special, bool alt);

}  // namespace dualvm::app
