// The local APIC's timer (SDM vol. 3A, 10.5.4): one-shot and periodic. Nothing ticks: counts are worked out from the
// clock when asked for.
#include "dualvm/devices/local_apic.h"

namespace dualvm::devices {

// Divide configuration register (figure 10-10): bits 3, 1 and 0 say 2, 4 ... 128, 1.
u64 LocalApic::divisor() const {
    const u32 code = (divide_ >> 1 & 4) | (divide_ & 3);
    return u64{1} << ((code + 1) & 7);
}

u32 LocalApic::current_count() const {
    if (!counting_) return 0;
    const u64 ticks = (machine_.clock().now() - started_) / tick();
    if (periodic()) return initial_count_ - static_cast<u32>(ticks % initial_count_);
    return ticks >= initial_count_ ? 0 : initial_count_ - static_cast<u32>(ticks);
}

// How much of a tick has passed since the count was the present one.
Nanoseconds LocalApic::into_tick() const { return counting_ ? (machine_.clock().now() - started_) % tick() : 0; }

// The timer counts on from `current`, by the divisor and mode that are set now, and goes from there to the next count
// by what it has gone already: else a guest that writes often would stop it.
void LocalApic::start_timer(u32 initial, u32 current, Nanoseconds into_tick) {
    initial_count_ = initial;
    counting_ = current != 0 && current <= initial;
    if (counting_) started_ = machine_.clock().now() - (initial - current) * tick() - into_tick % tick();
    schedule();
}

// A timer that is masked counts, but need not stop the engine.
void LocalApic::schedule() {
    constexpr u32 kMasked = 1u << 16;
    timer_.disarm();
    if (!counting_ || (lvt_[kTimer] & kMasked) != 0 || !enabled()) return;
    const Nanoseconds period = initial_count_ * tick();
    const Nanoseconds since = machine_.clock().now() - started_;
    // One shot is due even if its time has come meanwhile: the host's clock goes on while a register is written, and
    // the host may have had other things to do in between.
    timer_.arm(started_ + (periodic() ? since / period + 1 : 1) * period);
}

// Before a register of the timer changes: what has ended by now did so under the old value; without an interrupt, if it
// was masked.
void LocalApic::end_what_is_due() {
    const Nanoseconds now = machine_.clock().now();
    if (timer_.armed()) {
        if (timer_.deadline() <= now) timer_due();
    } else if (counting_ && !periodic() && now - started_ >= initial_count_ * tick()) {
        counting_ = false;
    }
}

void LocalApic::timer_due() {
    if (!periodic()) counting_ = false;
    local_interrupt(kTimer);
    schedule();
    if (timer_.armed()) timer_.arm_again(timer_.deadline());
    update();
}

}  // namespace dualvm::devices
