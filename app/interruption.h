// Signals that end a run, and how they reach it: a flag for the run loop, a kick for the engine.
#pragma once

#include <atomic>

#include "dualvm/clock.h"
#include "dualvm/engine.h"

namespace dualvm::app {

// From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT end the run, which then ends with status 12; a second one ends the
// process at once. A closed pipe is an error of write(), not a signal.
void install_signal_handlers();

// The flag that RunHooks::interrupted wants.
const std::atomic<bool>& interrupted_flag();
inline bool interrupted() { return interrupted_flag().load(std::memory_order_relaxed); }
// Ends the run from inside the program, as a signal would.
void interrupt_run();

// While it lives, output that nobody takes is waited with for no longer than a run's --timeout (in nanoseconds). Once
// that has passed it stays so, for what is said at the end.
class WaitLimit {
public:
    explicit WaitLimit(Nanoseconds timeout);
    ~WaitLimit();
    WaitLimit(const WaitLimit&) = delete;
    WaitLimit& operator=(const WaitLimit&) = delete;
};
bool waited_enough();

// While it lives, a signal kicks this engine.
class KickOnSignal {
public:
    explicit KickOnSignal(Engine& engine);
    ~KickOnSignal();
    KickOnSignal(const KickOnSignal&) = delete;
    KickOnSignal& operator=(const KickOnSignal&) = delete;
};

}  // namespace dualvm::app
