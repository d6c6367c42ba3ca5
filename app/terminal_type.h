// What terminfo knows of this terminal. In a file of its own: <term.h> has macros of names as common as `lines`.
#pragma once

#include <string>

namespace dualvm::app {

// Why standard input and output are no terminal that can be written all over; empty if they are.
std::string why_no_full_screen();
// What leaves a full-screen program's screen, as endwin() writes it; once curses has begun.
std::string leaving_sequence();

}  // namespace dualvm::app
