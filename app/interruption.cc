#include "interruption.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "output_file.h"
#include "terminal.h"

namespace dualvm::app {

namespace {

std::atomic<bool> the_flag{false};
std::atomic<Engine*> the_engine{nullptr};
std::atomic<Nanoseconds> the_wait_limit{kNever};  // by the_clock()
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<Engine*>::is_always_lock_free);

const HostClock& the_clock() {
    static const HostClock clock;
    return clock;
}

void on_signal(int) {
    const int saved_errno = errno;
    if (the_flag.exchange(true)) {
        restore_terminal();
        remove_unfinished_files();
        _exit(static_cast<int>(ExitStatus::Limit));
    }
    if (Engine* engine = the_engine.load()) engine->kick();
    errno = saved_errno;
}

}  // namespace

void install_signal_handlers() {
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    // No SA_RESTART: a write() or poll() that waits for somebody must come back.
    for (int signal : {SIGINT, SIGTERM, SIGQUIT}) sigaction(signal, &action, nullptr);
    struct sigaction before {};
    sigaction(SIGHUP, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup means it
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, nullptr);
    sigaction(SIGXFSZ, &action, nullptr);  // a file that may not grow is an error of write(), like a full disk
}

const std::atomic<bool>& interrupted_flag() { return the_flag; }

void interrupt_run() { the_flag.store(true); }

WaitLimit::WaitLimit(Nanoseconds timeout) {
    const Nanoseconds now = the_clock().now();
    the_wait_limit.store(timeout < kNever - now ? now + timeout : kNever);
}
WaitLimit::~WaitLimit() {
    if (!waited_enough()) the_wait_limit.store(kNever);
}
bool waited_enough() {
    const Nanoseconds limit = the_wait_limit.load();
    return limit != kNever && the_clock().now() >= limit;
}

KickOnSignal::KickOnSignal(Engine& engine) {
    the_engine.store(&engine);
    if (interrupted()) engine.kick();  // the signal was faster
}
KickOnSignal::~KickOnSignal() { the_engine.store(nullptr); }

}  // namespace dualvm::app
