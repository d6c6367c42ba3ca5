// The run loop: drives one engine over one machine until the guest ends or a limit is reached.
#pragma once

#include <atomic>
#include <functional>
#include <optional>

#include "dualvm/machine.h"

namespace dualvm {

struct RunLimits {
    u64 max_instructions = kUnlimited;  // needs exact_instruction_counts
    Nanoseconds timeout = kNever;       // of host time
};

struct RunHooks {
    // Called between slices of guest code, at least every 10 ms of host time: feeds the guest its input.
    std::function<void()> poll;
    // Waits up to that long for outside input (a key) while the guest is halted. Without it the loop just sleeps.
    std::function<void(Nanoseconds)> wait;
    // True while input may still come from outside; a halted guest is then waited for.
    std::function<bool()> input_possible;
    // The guest asked for a reset: puts the guest's image into memory again. Without it a reset ends the run, cleanly.
    std::function<Expected<void>()> reboot;
    // A triple fault is a reset, as a PC's chipset makes it one; else it ends the run with ExitStatus::TripleFault.
    bool triple_fault_resets = false;
    // Set, from a signal handler too, to end the run (with Engine::kick() for promptness).
    const std::atomic<bool>* interrupted = nullptr;
};

struct RunResult {
    int status = 0;      // the process exit status (ExitStatus, or a guest's odd one)
    std::string reason;  // one machine-readable word: "debug-exit", "halted", "power-off", "reset", "triple-fault",
                         // "max-insns", "timeout", "interrupted", "engine-failure", "engine-unavailable", "breakpoint"
    std::string text;    // one sentence for people, with the address, bytes and what to do where it failed
    std::optional<u64> instructions;
    double seconds = 0;  // host time
    Exit last_exit;
};

RunResult run_loop(Machine& machine, Engine& engine, const RunLimits& limits, const RunHooks& hooks);

}  // namespace dualvm
