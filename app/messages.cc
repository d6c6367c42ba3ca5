#include "messages.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "interruption.h"

namespace dualvm::app {

bool wants_color(ColorChoice choice, int fd) {
    if (choice != ColorChoice::Auto) return choice == ColorChoice::Always;
    const char* no_color = std::getenv("NO_COLOR");  // https://no-color.org
    return isatty(fd) != 0 && (no_color == nullptr || *no_color == '\0');
}

int write_all(int fd, std::string_view text, const std::function<bool()>& goes_on) {
    // Never more than can be written without waiting, which POLLOUT promises of PIPE_BUF bytes (pipe(7)): a signal that
    // comes just before a write() that waits would be missed.
    constexpr int kMilliseconds = 100;
    while (!text.empty()) {
        pollfd ready{fd, POLLOUT, 0};
        if (poll(&ready, 1, kMilliseconds) <= 0) {
            if (interrupted() || waited_enough() || (goes_on && !goes_on())) return EINTR;
            continue;
        }
        const ssize_t n = ::write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
        if (n >= 0) {
            text.remove_prefix(static_cast<std::size_t>(n));
        } else if (errno != EINTR && errno != EAGAIN) {
            return errno;
        }
    }
    return 0;
}

Expected<void> print(std::string_view text) {
    const int error = write_all(STDOUT_FILENO, text);
    if (error == 0) return {};
    if (error == EPIPE) return fail(ExitStatus::Limit, "standard output was closed by its reader");
    if (error == EINTR) return fail(ExitStatus::Limit, "interrupted while writing to standard output");
    return fail(ExitStatus::BadImage, fmt::format("cannot write to standard output: {}", std::strerror(error)));
}

Messages::Messages(ColorChoice color) : color_(wants_color(color, STDERR_FILENO)) {}

std::string printable(std::string text, Lines lines) {
    const auto obeyed = [lines](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && (c != '\n' || lines == Lines::One)) || c == 0x7f;
    };
    std::replace_if(text.begin(), text.end(), obeyed, '?');
    return text;
}

void Messages::error(std::string_view text) const {
    plain(fmt::format("{}dualvm:{} {}\n", color_ ? "\x1b[1;31m" : "", normal(),
                      printable(std::string(text), Lines::Many)));
}

void Messages::note(std::string_view text) const {
    plain(fmt::format("{}dualvm:{} {}\n", bold(), normal(), printable(std::string(text), Lines::Many)));
}

void Messages::plain(std::string_view text) const { write_all(STDERR_FILENO, text); }

}  // namespace dualvm::app
