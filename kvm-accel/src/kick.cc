#include "kick.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dualvm::kvm {

namespace {

// The vCPU that this thread is running, for the signal handler.
thread_local kvm_run* current_run = nullptr;
thread_local std::atomic<bool>* current_timer_fired = nullptr;

void set_immediate_exit(kvm_run& run, u8 value) { __atomic_store_n(&run.immediate_exit, value, __ATOMIC_SEQ_CST); }

Nanoseconds monotonic_now() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<Nanoseconds>(t.tv_sec) * 1'000'000'000 + static_cast<Nanoseconds>(t.tv_nsec);
}

void on_timer(int, siginfo_t* info, void*) {
    if (current_run == nullptr) return;
    if (info->si_code == SI_TIMER && current_timer_fired != nullptr) current_timer_fired->store(true);
    set_immediate_exit(*current_run, 1);
}

}  // namespace

int Kicker::signal_number() {
    // One signal for all vCPUs, taken from the middle of the range that the C library leaves to programs.
    static const int number = [] {
        const int n = SIGRTMIN + 5;
        struct sigaction action {};
        action.sa_sigaction = on_timer;
        action.sa_flags = SA_SIGINFO;  // without SA_RESTART: KVM_RUN shall come back
        sigaction(n, &action, nullptr);
        return n;
    }();
    return number;
}

Kicker::~Kicker() {
    if (has_timer_) timer_delete(timer_);
    if (current_run == &run_) {
        current_run = nullptr;
        current_timer_fired = nullptr;
    }
}

void Kicker::kick() {
    kicked_.store(true);
    set_immediate_exit(run_, 1);
    if (inside_.load(std::memory_order_acquire) && pthread_equal(thread_.load(), pthread_self()) == 0) {
        pthread_kill(thread_.load(), signal_number());
    }
}

bool Kicker::take_kick() {
    set_immediate_exit(run_, 0);  // before the flag: a kick in between leaves immediate_exit set for the next entry
    return kicked_.exchange(false);
}

bool Kicker::take_timeout() {
    if (!timer_fired_.exchange(false)) return false;
    armed_for_ = kNever;
    return true;
}

bool Kicker::make_timer() {
    if (has_timer_ && pthread_equal(timer_thread_, pthread_self()) != 0) return true;
    if (has_timer_) timer_delete(timer_);
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = signal_number();
#ifdef sigev_notify_thread_id
    event.sigev_notify_thread_id = static_cast<pid_t>(syscall(SYS_gettid));
#else
    event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
#endif
    has_timer_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
    timer_thread_ = pthread_self();
    armed_for_ = kNever;
    return has_timer_;
}

void Kicker::arm(Nanoseconds deadline) {
    if (!make_timer()) return;
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(deadline / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(deadline % 1'000'000'000);
    timer_settime(timer_, TIMER_ABSTIME, &when, nullptr);
    armed_for_ = deadline;
}

void Kicker::enter(Nanoseconds host_time) {
    current_run = &run_;
    current_timer_fired = &timer_fired_;
    thread_.store(pthread_self());
    inside_.store(true, std::memory_order_release);
    if (host_time == kNever) return;
    take_timeout();  // one that fired while the vCPU was out has done its work
    const Nanoseconds deadline = monotonic_now() + host_time;
    if (deadline < armed_for_ || !has_timer_ || pthread_equal(timer_thread_, pthread_self()) == 0) arm(deadline);
}

}  // namespace dualvm::kvm
