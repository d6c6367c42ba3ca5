#include "kick.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dualvm::kvm {

namespace {

// What the signal's handler may touch: its own thread's state, and the vCPU that this thread is running.
struct ThisThread {
    kvm_run* run = nullptr;
    bool signalled = false;
    pid_t id = 0;
    u64 serial = 0;  // thread ids are given out again; this is not
};
thread_local ThisThread this_thread;
std::atomic<u64> threads_seen{0};

void set_immediate_exit(kvm_run& run, u8 value) { __atomic_store_n(&run.immediate_exit, value, __ATOMIC_SEQ_CST); }

void on_signal(int) {
    __atomic_store_n(&this_thread.signalled, true, __ATOMIC_SEQ_CST);
    if (kvm_run* run = __atomic_load_n(&this_thread.run, __ATOMIC_SEQ_CST)) set_immediate_exit(*run, 1);
}

// One signal for all vCPUs, from the middle of the range that the C library leaves to programs. Made once a process;
// without SA_RESTART, so that a blocked system call comes back, KVM_RUN first of all.
int signal_number() {
    static const int number = [] {
        const int n = SIGRTMIN + 5;
        struct sigaction action {};
        action.sa_handler = on_signal;
        sigaction(n, &action, nullptr);
        return n;
    }();
    return number;
}

// The first entry on a thread: its id, and the signal must not be blocked here.
void meet_thread() {
    this_thread.id = static_cast<pid_t>(syscall(SYS_gettid));
    this_thread.serial = ++threads_seen;
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, signal_number());
    pthread_sigmask(SIG_UNBLOCK, &wanted, nullptr);
}

}  // namespace

Nanoseconds monotonic_now() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<Nanoseconds>(t.tv_sec) * 1'000'000'000 + static_cast<Nanoseconds>(t.tv_nsec);
}

Deadline Deadline::after(Nanoseconds host_time) {
    Deadline d;
    if (host_time == kNever) return d;
    d.now = monotonic_now();
    if (host_time < kNever - d.now) d.at = d.now + host_time;
    return d;
}

bool Deadline::passed() {
    if (at == kNever) return false;
    now = monotonic_now();
    return now >= at;
}

Kicker::~Kicker() {
    if (timer_thread_ != 0) timer_delete(timer_);
}

void Kicker::kick() {
    kicked_.store(true);
    set_immediate_exit(run_, 1);
    // tgkill and not pthread_kill: a thread that is gone meanwhile is an error here, not undefined behaviour.
    if (const pid_t thread = inside_.load(); thread != 0) syscall(SYS_tgkill, getpid(), thread, signal_number());
}

bool Kicker::take_kick() {
    set_immediate_exit(run_, 0);  // before the flag: a kick in between leaves immediate_exit set for the next entry
    return kicked_.exchange(false);
}

bool Kicker::make_timer() {
    if (timer_thread_ != 0) timer_delete(timer_);
    timer_thread_ = 0;
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = signal_number();
#ifdef sigev_notify_thread_id
    event.sigev_notify_thread_id = this_thread.id;
#else
    event._sigev_un._tid = this_thread.id;  // the C library has no name for it before 2.37
#endif
    if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) return false;
    timer_thread_ = this_thread.serial;
    return true;
}

bool Kicker::arm(Nanoseconds deadline) {
    if (timer_thread_ != this_thread.serial && !make_timer()) return false;
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(deadline / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(deadline % 1'000'000'000);
    if (timer_settime(timer_, TIMER_ABSTIME, &when, nullptr) != 0) return false;
    armed_for_ = deadline;
    return true;
}

bool Kicker::enter(const Deadline& deadline) {
    if (this_thread.serial == 0) meet_thread();
    __atomic_store_n(&this_thread.run, &run_, __ATOMIC_SEQ_CST);
    inside_.store(this_thread.id);
    if (deadline.at == kNever) return true;
    // A timer that has fired will not do so again. Either the time tells, or the signal, if it came after deadline.now.
    const bool signalled = __atomic_exchange_n(&this_thread.signalled, false, __ATOMIC_SEQ_CST);
    const bool armed = timer_thread_ == this_thread.serial && !signalled && armed_for_ > deadline.now;
    return (armed && armed_for_ <= deadline.at) || arm(deadline.at);
}

void Kicker::leave() {
    inside_.store(0);
    __atomic_store_n(&this_thread.run, nullptr, __ATOMIC_SEQ_CST);
}

}  // namespace dualvm::kvm
