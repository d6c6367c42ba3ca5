// Raw terminal mode: every key goes to the guest as it is typed, and the terminal is given back on every way out.
#pragma once

#include <string_view>

namespace dualvm::app {

// Turns standard input raw for as long as it lives, if it is a terminal and ours to use. Stopping (SIGTSTP) and crashes
// give the terminal back as well; continuing takes it again.
class RawTerminal {
public:
    RawTerminal();
    ~RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
};

// Gives the terminal back now. May be called from a signal handler, and more than once.
void restore_terminal();

// What has to be written to the terminal before it is given back, as by whoever fills all of it; "" for nothing.
void set_terminal_farewell(std::string_view bytes);
// Where a crash shall write what it has to say, in place of standard error; -1 for there.
void set_crash_output(int fd);
// True once after each time that the terminal was given back, and taken again by SIGCONT.
bool terminal_was_retaken();

// True if standard input may be read without the terminal stopping us for reading in the background.
bool may_read_terminal();

}  // namespace dualvm::app
