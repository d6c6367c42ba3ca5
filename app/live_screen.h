// The guest's screen in the terminal, while it runs (--screen=live): text with its colours and cursor, and the
// terminal's keys as keys of the guest's keyboard. The serial port is a second view; Ctrl-A s changes between them.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "console.h"
#include "key_player.h"

namespace dualvm::app {

class LiveScreen {
public:
    // Takes the terminal, which must be raw already (RawTerminal), for as long as it lives. What goes to standard error
    // meanwhile is kept, if that is a terminal too, and written when this one is given back.
    static Expected<std::unique_ptr<LiveScreen>> open(Machine& machine, devices::Pc& pc);
    ~LiveScreen();
    LiveScreen(const LiveScreen&) = delete;
    LiveScreen& operator=(const LiveScreen&) = delete;

    void serial_output(u8 byte);
    // Both are RunHooks': takes keys, and draws some thirty times a second.
    void poll();
    void wait(Nanoseconds up_to);
    // Set if a key ended the run.
    const std::optional<ConsoleEnd>& end() const { return end_; }

private:
    LiveScreen(Machine& machine, devices::Pc& pc);
    void keep_standard_error();
    void give_back_standard_error();
    void read_keys();
    void key(int code, bool special);
    void command(int code);
    void press(const KeyStep& step);
    void draw();
    void draw_text(const devices::Screen& screen);
    void draw_serial();
    void draw_line(const std::string& text);
    void resized();

    devices::Pc& pc_;
    KeyPlayer player_;
    std::optional<ConsoleEnd> end_;
    devices::Screen shown_;
    std::deque<std::string> serial_{1};  // the last lines
    std::size_t serial_column_ = 0;
    unsigned escape_ = 0;  // how far into an escape sequence of the guest's serial output
    std::string message_;  // on the last line, until the next key
    bool serial_view_ = false, dirty_ = true, prefix_ = false, eight_bit_ = false;
    Nanoseconds next_frame_ = 0;
    int standard_error_ = -1, kept_ = -1;
};

}  // namespace dualvm::app
