#include "console.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "interruption.h"
#include "messages.h"
#include "terminal.h"

namespace dualvm::app {

namespace {

constexpr std::size_t kBuffer = 4096;
constexpr std::size_t kInputAhead = 256;  // bytes that may wait for the guest to read them
constexpr std::size_t kTyped = 1 << 20;   // bytes that a terminal may be ahead of that; it is always read, for Ctrl-A
constexpr char kPrefix = 1;               // Ctrl-A
constexpr const char* kKeys =
    "\ndualvm: Ctrl-A x leaves, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h is this help; all else goes to the guest\n";

}  // namespace

Console::Console(int out, std::optional<OutputFile> file, bool input)
    : out_(out), file_(std::move(file)), input_(input), keys_(input && isatty(STDIN_FILENO) != 0) {
    buffer_.reserve(kBuffer);
}

void Console::end_run(ExitStatus status, const char* reason, std::string text) {
    if (!end_) end_ = ConsoleEnd{status, reason, std::move(text)};
    interrupt_run();
}

void Console::output(u8 byte) {
    ++bytes_written_;
    buffer_.push_back(static_cast<char>(byte));
    if (buffer_.size() >= kBuffer) flush();
}

void Console::debug_output(u8 byte) {
    debug_buffer_.push_back(static_cast<char>(byte));
    if (debug_buffer_.size() >= kBuffer) flush();
}

void Console::flush() {
    // Away with it first: a key that is pressed meanwhile may have more to say.
    if (const std::string text = std::exchange(debug_buffer_, {}); !text.empty()) {
        write_all(STDERR_FILENO, text, [this] { return goes_on_waiting(); });
    }
    if (buffer_.empty()) return;
    if (file_) {
        if (!file_->write(buffer_)) end_run(ExitStatus::BadImage, "output-failed", "");  // finish() says why
    } else if (out_ >= 0 && !end_) {
        switch (const int error = write_all(out_, buffer_, [this] { return goes_on_waiting(); })) {
            case 0:
            case EINTR: break;  // a signal or a key has ended the run already
            case EPIPE: end_run(ExitStatus::Limit, "output-closed", "standard output was closed by its reader"); break;
            default:
                end_run(ExitStatus::BadImage, "output-failed",
                        fmt::format("cannot write the guest's serial output: {}", std::strerror(error)));
        }
    }
    buffer_.clear();
}

// While nobody takes the output: a key may end that.
bool Console::goes_on_waiting() {
    pollfd in{STDIN_FILENO, POLLIN, 0};
    if (input_ && keys_ && ::poll(&in, 1, 0) > 0) read_input();
    return !end_;
}

void Console::poll() {
    flush();
    feed_guest();
    if (!input_) return;
    pollfd in{STDIN_FILENO, POLLIN, 0};
    if (::poll(&in, 1, 0) > 0) read_input();
}

void Console::wait(Nanoseconds up_to) {
    flush();
    const timespec timeout{static_cast<time_t>(up_to / 1'000'000'000), static_cast<long>(up_to % 1'000'000'000)};
    // While what came is still unread, or a background process may not read, only time is waited for.
    const bool watch = input_ && may_read_terminal() && (keys_ || room_for_guest() != 0);
    pollfd in{STDIN_FILENO, POLLIN, 0};
    if (ppoll(&in, watch ? 1 : 0, &timeout, nullptr) > 0) read_input();
}

void Console::read_input() {
    const std::size_t most = keys_ ? kInputAhead : room_for_guest();
    if (most == 0 || !may_read_terminal()) return;
    std::array<char, kInputAhead> bytes;
    const ssize_t n = read(STDIN_FILENO, bytes.data(), most);
    if (n > 0) {
        take({bytes.data(), static_cast<std::size_t>(n)});
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        input_ = false;  // the end of the input
    }
}

std::size_t Console::room_for_guest() const { return kInputAhead - std::min(kInputAhead, pc_->serial_input_waiting()); }

void Console::feed_guest() {
    if (typed_.empty()) return;
    const std::string now = typed_.substr(0, room_for_guest());
    typed_.erase(0, now.size());
    pc_->serial_input({reinterpret_cast<const u8*>(now.data()), now.size()});
}

void Console::take(std::string_view bytes) {
    for (char c : bytes) {
        if (!keys_ || (!prefix_ && c != kPrefix)) {
            typed_ += c;
            continue;
        }
        if (!prefix_) {
            prefix_ = true;
            continue;
        }
        prefix_ = false;
        switch (c) {
            case 'x':
            case 'X': end_run(ExitStatus::Limit, "interrupted", "left with Ctrl-A x"); return;
            case kPrefix: typed_ += c; break;
            case 'h':
            case 'H':
            case '?': debug_buffer_ += kKeys; break;
            default: break;
        }
    }
    typed_.resize(std::min(typed_.size(), kTyped));
    feed_guest();
}

Expected<void> Console::finish() {
    flush();
    if (file_) return file_->commit();
    return {};
}

}  // namespace dualvm::app
