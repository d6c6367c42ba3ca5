// What dualvm itself has to say: on standard error, each message with the program's name before it.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "options.h"

namespace dualvm::app {

class Messages {
public:
    explicit Messages(ColorChoice color);

    void error(std::string_view text) const;  // what went wrong; printable()
    void note(std::string_view text) const;   // what should be known; printable()
    void plain(std::string_view text) const;  // tables and dumps, as they are

    bool color() const { return color_; }
    // Terminal escapes, empty without color.
    const char* bold() const { return color_ ? "\x1b[1m" : ""; }
    const char* normal() const { return color_ ? "\x1b[0m" : ""; }

private:
    bool color_;
};

// The same text with nothing in it that a terminal would obey, but line ends if it may have some: names out of images
// may be hostile.
enum class Lines : u8 { One, Many };
std::string printable(std::string text, Lines lines = Lines::One);

// Whether to use color on that file descriptor.
bool wants_color(ColorChoice choice, int fd);

// Writes all of it to standard output; on failure an Error that says so (status 12 if the reader left).
Expected<void> print(std::string_view text);
// The same to any file descriptor; 0 or an errno.
int write_all(int fd, std::string_view text, const std::function<bool()>& goes_on = {});

}  // namespace dualvm::app
