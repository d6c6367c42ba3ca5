// Getting a vCPU out of the guest: immediate_exit and a signal, from a thread, a handler or a timer.
//
// KVM_RUN looks at immediate_exit on the way in and returns at once if it is set; a signal gets it out when it is in.
// A kick sets immediate_exit first and sends the signal second; the signal's handler sets immediate_exit as well. So
// whether a kick or the timer comes before, during or after the entry, KVM_RUN returns.
#pragma once

#include <linux/kvm.h>
#include <sys/types.h>
#include <time.h>

#include <atomic>

#include "dualvm/clock.h"

namespace dualvm::kvm {

// CLOCK_MONOTONIC, in which deadlines are given here.
Nanoseconds monotonic_now();

// A deadline, and the time at which it was set or looked at last.
struct Deadline {
    Nanoseconds at = kNever;
    Nanoseconds now = 0;
    // `host_time` from now on; kNever stays never, and costs no look at the clock.
    static Deadline after(Nanoseconds host_time);
    bool passed();  // looks at the clock
};

class Kicker {
public:
    explicit Kicker(kvm_run& run) : run_(run) {}
    ~Kicker();
    Kicker(const Kicker&) = delete;
    Kicker& operator=(const Kicker&) = delete;

    // From any thread, or a signal handler.
    void kick();
    // Was kick() called since the last time this was asked? Clears immediate_exit as well.
    bool take_kick();

    // Around each call of KVM_RUN, on the vCPU's thread. `enter` makes sure that the vCPU comes out at the deadline, or
    // sooner: a timer that is armed for an earlier time is left alone, as arming costs a system call and most exits
    // come long before. False, with errno, if the host gives no timer.
    bool enter(const Deadline& deadline);
    void leave();

private:
    bool arm(Nanoseconds deadline);
    bool make_timer();

    kvm_run& run_;
    std::atomic<bool> kicked_{false};
    std::atomic<pid_t> inside_{0};  // the thread that is in KVM_RUN, or about to be; 0 if none is
    timer_t timer_{};
    u64 timer_thread_ = 0;            // whom the timer's signal goes to; 0 if there is no timer yet
    Nanoseconds armed_for_ = kNever;  // when the timer will fire
};

}  // namespace dualvm::kvm
