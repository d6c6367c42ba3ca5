// Getting a vCPU out of the guest: immediate_exit and a signal, from a thread, a handler or a timer.
//
// KVM_RUN looks at immediate_exit on the way in and returns at once if it is set; a signal gets it out when it is in.
// The signal's handler sets immediate_exit, so that a signal that comes just before KVM_RUN is not lost either.
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <time.h>

#include <atomic>

#include "dualvm/clock.h"

namespace dualvm::kvm {

class Kicker {
public:
    explicit Kicker(kvm_run& run) : run_(run) {}
    ~Kicker();
    Kicker(const Kicker&) = delete;
    Kicker& operator=(const Kicker&) = delete;

    // From anywhere.
    void kick();

    // Around the calls of KVM_RUN, on the vCPU's thread. `enter` makes sure that the vCPU is out again within
    // `host_time`: sooner is possible, as a timer that is armed already is not armed again for a later time.
    void enter(Nanoseconds host_time);
    void leave() { inside_.store(false, std::memory_order_release); }

    // Was kick() called since the last time this was asked? Clears immediate_exit as well.
    bool take_kick();
    // Has the timer of enter() fired since the last time this was asked?
    bool take_timeout();

private:
    void arm(Nanoseconds deadline);
    bool make_timer();
    static int signal_number();

    kvm_run& run_;
    std::atomic<bool> kicked_{false}, inside_{false}, timer_fired_{false};
    std::atomic<pthread_t> thread_{};
    timer_t timer_{};
    bool has_timer_ = false;
    pthread_t timer_thread_{};
    Nanoseconds armed_for_ = kNever;  // CLOCK_MONOTONIC
};

}  // namespace dualvm::kvm
