#include "terminal.h"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>

namespace dualvm::app {

namespace {

// Handlers of signals can only reach what is global. tcsetattr(), tcgetpgrp() and sigaction() may be called in one
// (POSIX.1-2017, 2.4.3).
termios original, raw;
std::atomic<bool> is_raw{false};    // now
std::atomic<bool> want_raw{false};  // a RawTerminal lives
std::atomic<bool> retaken{false};
std::atomic<int> crash_output{-1};
// The length is set last and taken first: a handler finds all of it or nothing.
std::array<char, 256> farewell;
std::atomic<std::size_t> farewell_size{0};

constexpr std::array kCrashes = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
std::array<struct sigaction, kCrashes.size()> before_crash;

void make_raw() {
    if (!want_raw || !may_read_terminal() || tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) return;
    is_raw = true;
    retaken = true;
}

void default_and_again(int signal) {
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    sigemptyset(&standard.sa_mask);
    struct sigaction ours {};
    sigaction(signal, &standard, &ours);
    sigset_t only, before;
    sigemptyset(&only);
    sigaddset(&only, signal);
    raise(signal);
    pthread_sigmask(SIG_UNBLOCK, &only, &before);  // it happens here
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    sigaction(signal, &ours, nullptr);
}

void on_stop(int signal) {
    const int saved_errno = errno;
    restore_terminal();
    default_and_again(signal);  // sleeps until SIGCONT
    make_raw();
    errno = saved_errno;
}

void on_continue(int) {
    const int saved_errno = errno;
    make_raw();
    errno = saved_errno;
}

void on_crash(int signal) {
    restore_terminal();
    if (const int fd = crash_output; fd >= 0) dup2(fd, STDERR_FILENO);
    for (std::size_t i = 0; i < kCrashes.size(); ++i) {
        if (kCrashes[i] == signal) sigaction(signal, &before_crash[i], nullptr);
    }
    raise(signal);  // blocked until we return, then whoever handled it before us has it
}

void handle(int signal, void (*handler)(int), struct sigaction* before) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, before);
}

}  // namespace

bool may_read_terminal() {
    // Job control stops background readers of their controlling terminal only (POSIX.1-2017, 11.1.4); of any other
    // terminal, as of a file, tcgetpgrp() knows no foreground group.
    const pid_t foreground = tcgetpgrp(STDIN_FILENO);
    return foreground < 0 || foreground == getpgrp();
}

void restore_terminal() {
    if (!is_raw.exchange(false)) return;
    if (const std::size_t size = farewell_size; size != 0) {
        [[maybe_unused]] const ssize_t written = write(STDOUT_FILENO, farewell.data(), size);  // the best we can do
    }
    tcsetattr(STDIN_FILENO, TCSANOW, &original);
}

void set_terminal_farewell(std::string_view bytes) {
    farewell_size = 0;
    const std::size_t size = bytes.copy(farewell.data(), farewell.size());
    farewell_size = size == bytes.size() ? size : 0;  // half an escape sequence would be worse than none
}

void set_crash_output(int fd) { crash_output = fd; }

bool terminal_was_retaken() { return retaken.exchange(false); }

RawTerminal::RawTerminal() {
    if (isatty(STDIN_FILENO) == 0 || !may_read_terminal() || tcgetattr(STDIN_FILENO, &original) != 0) return;
    raw = original;
    // As cfmakeraw(), but output stays as it was: a guest's line feed still returns to the left edge.
    raw.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    raw.c_cflag &= ~static_cast<tcflag_t>(CSIZE | PARENB);
    raw.c_cflag |= CS8;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    want_raw = true;
    for (std::size_t i = 0; i < kCrashes.size(); ++i) handle(kCrashes[i], on_crash, &before_crash[i]);
    handle(SIGTSTP, on_stop, nullptr);
    handle(SIGCONT, on_continue, nullptr);
    make_raw();
    retaken = false;
}

RawTerminal::~RawTerminal() {
    if (!want_raw.exchange(false)) return;
    restore_terminal();
    if (const int fd = crash_output; fd >= 0) dup2(fd, STDERR_FILENO);
    for (std::size_t i = 0; i < kCrashes.size(); ++i) sigaction(kCrashes[i], &before_crash[i], nullptr);
    handle(SIGTSTP, SIG_DFL, nullptr);
    handle(SIGCONT, SIG_DFL, nullptr);
}

}  // namespace dualvm::app
