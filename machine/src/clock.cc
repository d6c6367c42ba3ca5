#include "dualvm/clock.h"

#include <algorithm>
#include <chrono>

namespace dualvm {

Timer::Timer(Clock& clock, std::function<void()> on_fire) : clock_(clock), on_fire_(std::move(on_fire)) {
    clock_.timers_.push_back(this);
}

Timer::~Timer() { std::erase(clock_.timers_, this); }

void Timer::arm(Nanoseconds deadline) {
    const bool earlier = deadline < clock_.next_deadline();
    deadline_ = deadline;
    if (earlier && clock_.on_earlier_deadline_) clock_.on_earlier_deadline_();
}

void Timer::arm_again(Nanoseconds deadline) {
    arm(clock_.is_virtual() ? deadline : std::max(deadline, clock_.now() + Clock::kShortestHostPeriod));
}

Nanoseconds Clock::next_deadline() const {
    Nanoseconds next = kNever;
    for (const Timer* t : timers_) next = std::min(next, t->deadline_);
    return next;
}

bool Clock::can_wake_guest() const {
    return std::any_of(timers_.begin(), timers_.end(), [](const Timer* t) { return t->armed() && !t->watch_only_; });
}

unsigned Clock::fire_due() {
    unsigned fired = 0;
    const Nanoseconds limit = now();
    // A callback may arm timers again, even in the past; each timer fires at most once a call so that a guest that
    // programs an absurd rate cannot hold the host here.
    for (std::size_t round = 0; round < timers_.size(); ++round) {
        Timer* due = nullptr;
        for (Timer* t : timers_) {
            if (t->deadline_ <= limit && (due == nullptr || t->deadline_ < due->deadline_)) due = t;
        }
        if (due == nullptr) break;
        due->deadline_ = kNever;
        ++fired;
        due->on_fire_();
    }
    return fired;
}

void VirtualClock::skip_to(Nanoseconds when) {
    if (when > now()) skipped_ += when - now();
}

namespace {
Nanoseconds monotonic() {
    using namespace std::chrono;
    return static_cast<Nanoseconds>(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}
}  // namespace

HostClock::HostClock() : start_(monotonic()) {}
Nanoseconds HostClock::now() const { return monotonic() - start_; }

}  // namespace dualvm
