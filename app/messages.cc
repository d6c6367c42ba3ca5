#include "messages.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "interruption.h"

namespace dualvm::app {

bool wants_color(ColorChoice choice, int fd) {
    if (choice != ColorChoice::Auto) return choice == ColorChoice::Always;
    const char* no_color = std::getenv("NO_COLOR");  // https://no-color.org
    return isatty(fd) != 0 && (no_color == nullptr || *no_color == '\0');
}

int write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n >= 0) {
            text.remove_prefix(static_cast<std::size_t>(n));
        } else if (errno == EAGAIN) {  // somebody made the terminal or pipe non-blocking
            pollfd ready{fd, POLLOUT, 0};
            poll(&ready, 1, 100);
            if (interrupted()) return EINTR;
        } else if (errno != EINTR || interrupted()) {
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

void Messages::error(std::string_view text) const {
    plain(fmt::format("{}dualvm:{} {}\n", color_ ? "\x1b[1;31m" : "", normal(), text));
}

void Messages::note(std::string_view text) const { plain(fmt::format("{}dualvm:{} {}\n", bold(), normal(), text)); }

void Messages::plain(std::string_view text) const { write_all(STDERR_FILENO, text); }

}  // namespace dualvm::app
