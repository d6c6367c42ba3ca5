#include "dualvm/run_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace dualvm {

namespace {

using Steady = std::chrono::steady_clock;

// Input is looked for, and limits of host time are checked, at least this often.
constexpr Nanoseconds kSlice = 10'000'000;
// Who only looks at the guest (the keys of a script) has this time to find that it waits for them.
constexpr Nanoseconds kLastLooks = 50'000'000;
// An engine that comes back for every port access never uses up its slice: so many exits count as one.
constexpr unsigned kExitsInSlice = 64;

class Loop {
public:
    Loop(Machine& machine, Engine& engine, const RunLimits& limits, const RunHooks& hooks)
        : machine_(machine),
          engine_(engine),
          limits_(limits),
          hooks_(hooks),
          start_(Steady::now()),
          exact_(engine.capabilities().exact_instruction_counts),
          first_instruction_(exact_ ? engine.instructions() : 0) {}

    RunResult run() {
        RunResult result = loop();
        result.seconds = std::chrono::duration<double>(Steady::now() - start_).count();
        if (exact_) result.instructions = executed();
        return result;
    }

private:
    u64 executed() const { return engine_.instructions() - first_instruction_; }
    Nanoseconds elapsed() const {
        return static_cast<Nanoseconds>(
            std::chrono::duration_cast<std::chrono::nanoseconds>(Steady::now() - start_).count());
    }

    static RunResult ended(int status, std::string reason, std::string text, Exit exit = {}) {
        RunResult r;
        r.status = status;
        r.reason = std::move(reason);
        r.text = std::move(text);
        r.last_exit = std::move(exit);
        return r;
    }
    static RunResult ended(ExitStatus status, std::string reason, std::string text, Exit exit = {}) {
        return ended(static_cast<int>(status), std::move(reason), std::move(text), std::move(exit));
    }

    RunResult loop() {
        Nanoseconds last_poll = 0;
        for (bool first = true;; first = false) {
            // In this order: a timer that is armed anew when it fires wants attention, and has it here.
            machine_.clock().fire_due();
            machine_.clear_attention();
            // Reading the host's clock costs more than many an exit: only slices and timeouts do it.
            if (first || slice_over_ || ++exits_ >= kExitsInSlice) {
                slice_over_ = false;
                exits_ = 0;
                const Nanoseconds now = elapsed();
                if (hooks_.poll && (first || now - last_poll >= kSlice / 2)) {
                    last_poll = now;
                    hooks_.poll();
                }
                if (auto over = host_limit(now)) return *over;
            }
            if (auto over = requests()) return *over;
            if (machine_.take_nmi()) {
                engine_.pull(Groups::Events);
                machine_.cpu().events.nmi_pending = true;
                engine_.push(Groups::Events);
            }
            Exit exit = engine_.run(budget());
            switch (handle_exit(machine_, exit)) {
                case Outcome::Continue:
                    if (exit.kind == ExitKind::BudgetUsed || exit.kind == ExitKind::Kicked) slice_over_ = true;
                    break;
                case Outcome::Halted:
                    if (auto over = halted()) return *over;
                    break;
                case Outcome::Stop:
                    if (exit.kind != ExitKind::Shutdown || !hooks_.triple_fault_resets) return stopped(std::move(exit));
                    if (auto over = reset("the guest reset the machine by a triple fault")) return *over;
                    break;
            }
        }
    }

    Budget budget() const {
        Budget b;
        if (limits_.max_instructions != kUnlimited) b.instructions = limits_.max_instructions - executed();
        const Nanoseconds deadline = machine_.clock().next_deadline();
        b.host_time = kSlice;
        if (deadline != kNever) {
            const Nanoseconds now = machine_.clock().now();
            // A timer that is due at once leaves the guest its time.
            const Nanoseconds next = std::max(deadline, now + 1);
            if (machine_.virtual_clock() != nullptr) {
                b.clock_time = next;
            } else {
                b.host_time = std::min(b.host_time, next - now);
            }
        }
        return b;
    }

    // Limits that cost a look at the host's clock or at a flag set by a signal.
    std::optional<RunResult> host_limit(Nanoseconds now) {
        if (hooks_.interrupted != nullptr && hooks_.interrupted->load(std::memory_order_relaxed)) {
            return ended(ExitStatus::Limit, "interrupted", "interrupted: the run was ended from outside");
        }
        if (now >= limits_.timeout) {
            return ended(ExitStatus::Limit, "timeout",
                         fmt::format("the time limit of {:g} s was reached (--timeout)",
                                     static_cast<double>(limits_.timeout) / 1e9));
        }
        return std::nullopt;
    }

    std::optional<RunResult> requests() {
        if (auto request = machine_.take_request()) {
            switch (request->kind) {
                case RequestKind::DebugExit: {
                    const int status = ((request->debug_exit_value << 1) | 1) & 0xff;
                    return ended(status, "debug-exit",
                                 fmt::format("the guest wrote {:#x} to the debug-exit port: status {}",
                                             request->debug_exit_value, status));
                }
                case RequestKind::PowerOff:
                    return ended(ExitStatus::Clean, "power-off", "the guest powered the machine off");
                case RequestKind::Reset:
                    if (auto over = reset("the guest reset the machine")) return *over;
                    break;
            }
        }
        if (limits_.max_instructions != kUnlimited && executed() >= limits_.max_instructions) {
            return ended(
                ExitStatus::Limit, "max-insns",
                fmt::format("the limit of {} instructions was reached (--max-insns)", limits_.max_instructions));
        }
        return std::nullopt;
    }

    std::optional<RunResult> reset(const char* text) {
        if (!hooks_.reboot) return ended(ExitStatus::Clean, "reset", text);
        engine_.pull(Groups::None);  // finishes the access that asked for the reset
        machine_.reset();
        if (auto again = hooks_.reboot(); !again) {
            return ended(again.error().status, "reset", again.error().text);
        }
        engine_.push(Groups::All);
        slice_over_ = true;  // a guest may do nothing but reset
        return std::nullopt;
    }

    // The guest waits in HLT: to the next interrupt, or for ever.
    std::optional<RunResult> halted() {
        const Nanoseconds since = machine_.clock().now();
        while (true) {
            machine_.clock().fire_due();
            if (machine_.pending_request()) return std::nullopt;
            engine_.pull(Groups::General | Groups::Events);
            const EventGroup& events = machine_.cpu().events;
            const bool nmi = machine_.nmi_raised() || events.nmi_pending;
            const bool interruptible = (machine_.cpu().general.rflags & rflags::IF) != 0;
            // In an NMI's handler the next one waits for IRET, as HLT does not (SDM vol. 3A, 6.7.1).
            if ((machine_.interrupt_pending() && interruptible) || (nmi && !events.nmi_masked)) return std::nullopt;
            const Nanoseconds deadline = machine_.clock().next_deadline();
            const bool input = hooks_.input_possible && hooks_.input_possible();
            const bool wakeable = interruptible || (machine_.may_raise_nmi() && !events.nmi_masked);
            const bool looked_at = deadline != kNever && machine_.clock().now() - since < kLastLooks;
            if (!wakeable || (!machine_.clock().can_wake_guest() && !input && !looked_at)) {
                return ended(ExitStatus::Clean, "halted",
                             wakeable ? "the guest halted with nothing left that could wake it"
                                      : "the guest halted with interrupts disabled");
            }
            const Nanoseconds now = elapsed();
            if (auto over = host_limit(now)) return over;
            if (machine_.virtual_clock() != nullptr && deadline != kNever) {
                machine_.virtual_clock()->skip_to(deadline);
                if (hooks_.poll) hooks_.poll();
                continue;
            }
            Nanoseconds pause = kSlice;
            if (deadline != kNever) {
                const Nanoseconds clock_now = machine_.clock().now();
                pause = std::min(pause, deadline > clock_now ? deadline - clock_now : 0);
            }
            if (hooks_.wait) {
                hooks_.wait(pause);
            } else {
                std::this_thread::sleep_for(std::chrono::nanoseconds(pause));
            }
            if (hooks_.poll) hooks_.poll();
        }
    }

    RunResult stopped(Exit exit) {
        std::string text;  // made before the exit is moved: arguments are evaluated in any order
        switch (exit.kind) {
            case ExitKind::Shutdown:
                engine_.pull(Groups::All);
                return ended(ExitStatus::TripleFault, "triple-fault",
                             fmt::format("triple fault: the guest could not handle an exception, rip {:#x}; "
                                         "'dualvm trace' shows the way there, --triple-fault=reset makes it a reset",
                                         machine_.cpu().general.rip),
                             std::move(exit));
            case ExitKind::Breakpoint:
                text = fmt::format("breakpoint at {:#x}", exit.rip);
                return ended(ExitStatus::Limit, "breakpoint", std::move(text), std::move(exit));
            default: {
                if (exit.byte_count == 0) {  // it is not about an instruction
                    text = fmt::format("the engine '{}' could not go on at {:#x}: {}", engine_.name(), exit.rip,
                                       exit.text);
                    const ExitStatus status = exit.status;
                    return ended(status,
                                 status == ExitStatus::EngineUnavailable ? "engine-unavailable" : "engine-failure",
                                 std::move(text), std::move(exit));
                }
                std::string bytes;
                for (unsigned i = 0; i < exit.byte_count; ++i) bytes += fmt::format(" {:02x}", exit.bytes[i]);
                text = fmt::format("the engine '{}' could not execute the instruction at {:#x}: {}; bytes{}",
                                   engine_.name(), exit.rip, exit.text, bytes);
                return ended(ExitStatus::EngineFailure, "engine-failure", std::move(text), std::move(exit));
            }
        }
    }

    Machine& machine_;
    Engine& engine_;
    const RunLimits& limits_;
    const RunHooks& hooks_;
    Steady::time_point start_;
    bool exact_;
    u64 first_instruction_;
    bool slice_over_ = false;
    unsigned exits_ = 0;  // since the host's clock was last looked at
};

}  // namespace

RunResult run_loop(Machine& machine, Engine& engine, const RunLimits& limits, const RunHooks& hooks) {
    return Loop(machine, engine, limits, hooks).run();
}

}  // namespace dualvm
