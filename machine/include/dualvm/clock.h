// Time, as devices see it. A Clock is handed to a device's constructor; the device asks now() and arms timers.
//
// VirtualClock counts guest instructions at a fixed rate, so a run is the same every time. HostClock is the host's
// monotonic time, for people at a keyboard and for engines that cannot count instructions.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "dualvm/types.h"

namespace dualvm {

using Nanoseconds = u64;
inline constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();

class Clock;

// A one-shot alarm on a clock. Firing disarms it; the callback may arm it again.
class Timer {
public:
    Timer(Clock& clock, std::function<void()> on_fire);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void arm(Nanoseconds deadline);  // absolute, on the clock it was made with
    // The same, for a timer that has fired and is periodic. Where time is the host's, a rate that the host cannot serve
    // would leave none for the guest: it becomes what Clock::kShortestHostPeriod says, as on a CPU that is too slow.
    void arm_again(Nanoseconds deadline);
    void disarm() { deadline_ = kNever; }
    bool armed() const { return deadline_ != kNever; }
    Nanoseconds deadline() const { return deadline_; }
    // A timer that only looks at the guest: with nothing else armed, a guest that sleeps is soon given up.
    void watch_only(bool only) { watch_only_ = only; }

private:
    friend class Clock;
    Clock& clock_;
    std::function<void()> on_fire_;
    Nanoseconds deadline_ = kNever;
    bool watch_only_ = false;
};

class Clock {
public:
    virtual ~Clock() = default;
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;

    // Nanoseconds since the machine was started.
    virtual Nanoseconds now() const = 0;
    // True if time passes only as instructions are executed (then HLT skips to the next timer).
    virtual bool is_virtual() const = 0;
    // What Timer::arm_again() leaves the guest at least where time is the host's. (A speaker that is made to speak by
    // PWM has 53 µs and more.)
    static constexpr Nanoseconds kShortestHostPeriod = 50'000;

    // The earliest deadline of all armed timers, kNever if there is none.
    Nanoseconds next_deadline() const;
    // True if an armed timer may do something to the guest.
    bool can_wake_guest() const;
    // Fires, in order of their deadlines, all timers that are due now. Returns how many.
    unsigned fire_due();
    // Called whenever a timer is armed earlier than the earliest so far (an engine may have to come back sooner).
    void on_earlier_deadline(std::function<void()> callback) { on_earlier_deadline_ = std::move(callback); }

private:
    friend class Timer;
    std::vector<Timer*> timers_;
    std::function<void()> on_earlier_deadline_;
};

class VirtualClock final : public Clock {
public:
    // One instruction takes one nanosecond: a CPU of 1000 million instructions a second.
    static constexpr Nanoseconds kNanosecondsPerInstruction = 1;
    // An access to a port takes as long as on the bus that PCs' ports are on: 6 cycles of ISA's 8.33 MHz for a byte
    // (82371SB data sheet, "ISA interface"). Guests that wait by reading a timer's port need few reads, as on a PC.
    static constexpr Nanoseconds kNanosecondsPerPortAccess = 720;

    Nanoseconds now() const override { return instructions_ * kNanosecondsPerInstruction + skipped_; }
    bool is_virtual() const override { return true; }

    // The engine's account: `instructions` executed in all. It must be brought up to date before any device is asked.
    void set_instructions(u64 instructions) { instructions_ = instructions; }
    u64 instructions() const { return instructions_; }
    // How many take until `when` if nothing else takes time; 0 if it is that time.
    u64 instructions_to(Nanoseconds when) const {
        const Nanoseconds left = when - std::min(when, now());
        return left / kNanosecondsPerInstruction + (left % kNanosecondsPerInstruction != 0);
    }
    // Time passes with no instruction executed (HLT): to `when`, if that is in the future.
    void skip_to(Nanoseconds when);
    // Time passes while the CPU waits for the bus.
    void wait_for_bus() { skipped_ += kNanosecondsPerPortAccess; }
    Nanoseconds skipped() const { return skipped_; }
    void restore(u64 instructions, Nanoseconds skipped) {
        instructions_ = instructions;
        skipped_ = skipped;
    }

private:
    u64 instructions_ = 0;
    Nanoseconds skipped_ = 0;
};

class HostClock final : public Clock {
public:
    HostClock();
    Nanoseconds now() const override;
    bool is_virtual() const override { return false; }

private:
    Nanoseconds start_;
};

}  // namespace dualvm
