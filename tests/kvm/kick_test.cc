// kick() from another thread, against guests that never come back by themselves.
#include <atomic>
#include <thread>

#include "small_guest.h"

namespace dualvm {
namespace {

class Kick : public SmallGuest {
protected:
    // Another thread kicks each time it sees a run begin, and some microseconds later: before, at and after the entry.
    void kick_again_and_again() {
        constexpr unsigned kKicks = 2000;
        std::atomic<unsigned> begun{0}, ended{0};
        std::thread kicker([&] {
            for (unsigned i = 1; i <= kKicks; ++i) {
                while (begun.load() < i) std::this_thread::yield();
                for (unsigned pause = 0; pause < i % 64 * 16; ++pause) asm volatile("pause");
                engine->kick();
                while (ended.load() < i) std::this_thread::yield();
            }
        });
        unsigned kicked = 0;
        for (unsigned i = 1; i <= kKicks; ++i) {
            begun.store(i);
            if (engine->run({.host_time = 10'000'000'000}).kind == ExitKind::Kicked) ++kicked;
            ended.store(i);
        }
        kicker.join();
        EXPECT_EQ(kicked, kKicks);
    }
};

TEST_F(Kick, BringsARing3LoopBackEachTime) {
    user_mode({0xeb, 0xfe});
    START_ENGINE();
    kick_again_and_again();
}

TEST_F(Kick, BringsARing0LoopBackEachTime) {
    real_mode({0xeb, 0xfe});
    START_ENGINE();
    kick_again_and_again();
}

TEST_F(Kick, BeforeARunEndsThatRun) {
    user_mode({0xeb, 0xfe});
    START_ENGINE();
    engine->kick();
    EXPECT_EQ(engine->run({}).kind, ExitKind::Kicked);
    EXPECT_EQ(engine->run({.host_time = 1'000'000}).kind, ExitKind::BudgetUsed);
}

TEST_F(Kick, WithoutADeadlineWorksToo) {
    user_mode({0xeb, 0xfe});
    START_ENGINE();
    std::thread kicker([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        engine->kick();
    });
    EXPECT_EQ(engine->run({}).kind, ExitKind::Kicked);
    kicker.join();
}

TEST_F(Kick, ARunOnAnotherThreadThanBeforeKeepsItsDeadline) {
    user_mode({0xeb, 0xfe});
    START_ENGINE();
    for (unsigned turn = 0; turn < 3; ++turn) {
        EXPECT_EQ(engine->run({.host_time = 500'000}).kind, ExitKind::BudgetUsed);
        std::thread other([&] { EXPECT_EQ(engine->run({.host_time = 500'000}).kind, ExitKind::BudgetUsed); });
        other.join();
        engine->kick();  // the thread it ran on is gone
        EXPECT_EQ(engine->run({}).kind, ExitKind::Kicked);
    }
}

}  // namespace
}  // namespace dualvm
