// --assist=kernel: when the vCPU for the guest's programs is made, and what happens if it cannot be.
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "dualvm/interp/interpreter.h"
#include "small_guest.h"

namespace dualvm {
namespace {

class AssistStart : public SmallGuest {
protected:
    // An endless loop, as a 64-bit program.
    void program() {
        user_mode({0xeb, 0xfe});
        cpu().control.cr4 |= cr4::OSFXSR;
    }
    void start_assisted() {
        auto made = make_assisted_engine(*machine, make_interpreter(*machine, {.host_tsc = true}), {.patience = 0});
        if (!made && made.error().status == ExitStatus::EngineUnavailable) GTEST_SKIP() << made.error().text;
        ASSERT_TRUE(made) << made.error().text;
        engine = std::move(*made);
    }
    Exit run_briefly() { return engine->run({.host_time = 20'000'000}); }
};

// Virtual machines that this process holds.
unsigned virtual_machines() {
    unsigned count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        count += std::filesystem::read_symlink(entry, gone).string() == "anon_inode:kvm-vm";
    }
    return count;
}

TEST_F(AssistStart, AGuestWithoutAProgramNeedsNoVm) {
    real_mode({0xeb, 0xfe});
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(run_briefly().kind, ExitKind::BudgetUsed);
    EXPECT_EQ(virtual_machines(), 0u);
    EXPECT_EQ(engine->statistics().named["hand-overs to the CPU"], 0u);
    engine->collect_dirty();
}

TEST_F(AssistStart, TheFirstProgramBringsTheVm) {
    program();
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(virtual_machines(), 0u);
    EXPECT_EQ(run_briefly().kind, ExitKind::BudgetUsed);
    EXPECT_EQ(virtual_machines(), 1u);
    EXPECT_GT(engine->statistics().named["hand-overs to the CPU"], 0u);
}

TEST_F(AssistStart, AVmThatCannotBeMadeEndsTheRunWithTheReason) {
    program();
    start_assisted();
    if (IsSkipped()) return;
    rlimit files{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
    const rlimit none{0, files.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    const Exit exit = run_briefly();
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_EQ(exit.rip, kCode);
    EXPECT_NE(exit.text.find("no vCPU for the guest's programs"), std::string::npos) << exit.text;
    EXPECT_NE(exit.text.find("Too many open files"), std::string::npos) << exit.text;
}

// Before, while and after the vCPU is made: whenever the kick comes, the run ends by it.
TEST_F(AssistStart, AKickAroundThatTimeIsHeard) {
    for (unsigned delay = 0; delay < 6000; delay += 250) {
        SetUp();
        program();
        start_assisted();
        if (IsSkipped()) return;
        std::thread other([&] {
            usleep(delay);
            engine->kick();
        });
        const Exit exit = engine->run({.host_time = 5'000'000'000});
        other.join();
        EXPECT_EQ(exit.kind, ExitKind::Kicked) << "after " << delay << " microseconds";
    }
}

}  // namespace
}  // namespace dualvm
