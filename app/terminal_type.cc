#include "terminal_type.h"

#include <curses.h>
#include <fmt/format.h>
#include <term.h>
#include <unistd.h>

#include <cstdlib>

namespace dualvm::app {

std::string why_no_full_screen() {
    if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) {
        return "standard input and standard output are not a terminal";
    }
    const char* type = std::getenv("TERM");
    if (type == nullptr || *type == '\0') return "TERM does not say which terminal this is";
    int error = 0;
    if (setupterm(nullptr, STDOUT_FILENO, &error) != OK) {
        return fmt::format("nothing is known of a terminal of type '{}' (TERM)", type);
    }
    const bool can_move = cursor_address != nullptr;
    del_curterm(cur_term);
    return can_move ? "" : fmt::format("a terminal of type '{}' (TERM) cannot place its cursor", type);
}

std::string leaving_sequence() {
    std::string sequence;
    for (const char* part : {exit_attribute_mode, orig_pair, cursor_normal, keypad_local, exit_ca_mode}) {
        if (part != nullptr) sequence += part;
    }
    return sequence;
}

}  // namespace dualvm::app
