// Presses keys for a guest, in the guest's own time: under a virtual clock the same each time. It waits for a guest
// that has not taken the last key yet, so none is lost in the keyboard's queue.
#pragma once

#include <deque>

#include "dualvm/devices/pc.h"
#include "key_script.h"

namespace dualvm::app {

class KeyPlayer {
public:
    // All must outlive it.
    KeyPlayer(Clock& clock, devices::Pc& pc);

    // After what is there already.
    void add(const KeyScript& script);
    bool done() const { return steps_.empty(); }
    std::size_t waiting() const { return steps_.size(); }
    // Where it stands, for people; empty if all was done.
    std::string what_is_left() const;

private:
    void go_on();
    bool guest_is_ready();
    bool on_screen(const KeyStep& step) const;
    // Looks again after that time; for it alone, a guest that sleeps is not waited for long (Timer::watch_only).
    void look_again_in(Nanoseconds time);
    void go_on_in(Nanoseconds time);
    void next_step(Nanoseconds after);

    Clock& clock_;
    devices::Pc& pc_;
    Timer timer_;
    std::deque<KeyStep> steps_;
    Nanoseconds pace_;
    bool down_ = false;  // the first step's keys are down, or its time has begun
    u64 commands_ = 0;   // that the keyboard had got from the guest
    Nanoseconds quiet_since_;
};

}  // namespace dualvm::app
