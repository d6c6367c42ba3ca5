#include "dualvm/clock.h"

#include <gtest/gtest.h>

namespace dualvm {
namespace {

TEST(VirtualClock, AdvancesWithInstructionsAndSkips) {
    VirtualClock clock;
    clock.set_instructions(100);
    EXPECT_EQ(clock.now(), 100u);
    clock.skip_to(500);
    EXPECT_EQ(clock.now(), 500u);
    clock.set_instructions(150);
    EXPECT_EQ(clock.now(), 550u);
    clock.skip_to(10);  // never backwards
    EXPECT_EQ(clock.now(), 550u);
}

TEST(Clock, FiresDueTimersInOrderOfTheirDeadlines) {
    VirtualClock clock;
    std::string order;
    Timer b(clock, [&] { order += 'b'; });
    Timer a(clock, [&] { order += 'a'; });
    Timer later(clock, [&] { order += 'l'; });
    b.arm(20);
    a.arm(10);
    later.arm(1000);
    EXPECT_EQ(clock.next_deadline(), 10u);
    clock.set_instructions(50);
    EXPECT_EQ(clock.fire_due(), 2u);
    EXPECT_EQ(order, "ab");
    EXPECT_EQ(clock.next_deadline(), 1000u);
}

TEST(Clock, ATimerThatArmsItselfInThePastFiresOnceACall) {
    VirtualClock clock;
    int fired = 0;
    Timer* self = nullptr;
    Timer t(clock, [&] {
        ++fired;
        self->arm(1);
    });
    self = &t;
    t.arm(1);
    clock.set_instructions(10);
    clock.fire_due();
    EXPECT_EQ(fired, 1);
}

TEST(Clock, SaysWhenADeadlineComesEarlier) {
    VirtualClock clock;
    int told = 0;
    clock.on_earlier_deadline([&] { ++told; });
    Timer a(clock, [] {}), b(clock, [] {});
    a.arm(100);
    b.arm(200);
    EXPECT_EQ(told, 1);
    b.arm(50);
    EXPECT_EQ(told, 2);
}

TEST(Clock, ATimerThatOnlyWatchesWakesNoGuest) {
    VirtualClock clock;
    Timer watch(clock, [] {}), alarm(clock, [] {});
    EXPECT_FALSE(clock.can_wake_guest());
    watch.watch_only(true);
    watch.arm(10);
    EXPECT_FALSE(clock.can_wake_guest());
    EXPECT_EQ(clock.next_deadline(), 10u);
    alarm.arm(20);
    EXPECT_TRUE(clock.can_wake_guest());
    alarm.disarm();
    watch.watch_only(false);
    EXPECT_TRUE(clock.can_wake_guest());
}

}  // namespace
}  // namespace dualvm
