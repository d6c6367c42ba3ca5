// The guest's serial port: its output to standard output (or a file), standard input to the guest.
#pragma once

#include <optional>
#include <string>

#include "dualvm/clock.h"
#include "dualvm/devices/pc.h"
#include "options.h"
#include "output_file.h"

namespace dualvm::app {

// How a run ended that the console ended.
struct ConsoleEnd {
    ExitStatus status;
    const char* reason;
    std::string text;
};

class Console {
public:
    // Output goes to the file descriptor `out`, or nowhere (-1), or to `file` if there is one; input comes from
    // standard input if `input` says so.
    Console(int out, std::optional<OutputFile> file, bool input);

    // The guest is known only after the machine was made with this console's output.
    void connect(devices::Pc& pc) { pc_ = &pc; }

    void output(u8 byte);
    void debug_output(u8 byte);  // port E9h: to standard error
    void flush();
    // Looks for input; both are RunHooks'.
    void poll();
    void wait(Nanoseconds up_to);
    bool input_possible() const { return input_; }
    // Asked while nobody takes some output: false once a key has ended the run.
    bool goes_on_waiting();

    u64 bytes_written() const { return bytes_written_; }
    // Set if the console ended the run: by key, or because nobody takes its output.
    const std::optional<ConsoleEnd>& end() const { return end_; }
    // Flushes, and gives a file its name.
    Expected<void> finish();

private:
    void read_input();
    std::size_t room_for_guest() const;
    void feed_guest();
    void take(std::string_view bytes);
    void end_run(ExitStatus status, const char* reason, std::string text);

    int out_;
    std::optional<OutputFile> file_;
    bool input_;
    bool keys_;            // input is a terminal: Ctrl-A is ours
    bool prefix_ = false;  // Ctrl-A was pressed
    devices::Pc* pc_ = nullptr;
    std::string buffer_, debug_buffer_;
    std::string typed_;  // at a terminal: what the guest has no room for yet
    u64 bytes_written_ = 0;
    std::optional<ConsoleEnd> end_;
};

}  // namespace dualvm::app
