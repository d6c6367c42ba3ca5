// --assist=kernel: when the vCPU for the guest's programs is made, and what happens if it cannot be.
#include <fcntl.h>
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
    void start_assisted(bool ready_made = false) {
        AssistedOptions options;
        options.patience = 0;
        options.ready_made = ready_made;
        auto made = make_assisted_engine(*machine, make_interpreter(*machine, {.host_tsc = true}), options);
        if (!made && made.error().status == ExitStatus::EngineUnavailable) GTEST_SKIP() << made.error().text;
        ASSERT_TRUE(made) << made.error().text;
        engine = std::move(*made);
    }
    Exit run_briefly() { return engine->run({.host_time = 20'000'000}); }
};

// The descriptors of this process that lead to `target`.
std::vector<int> descriptors_of(const std::string& target) {
    std::vector<int> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        if (std::filesystem::read_symlink(entry, gone) == target) found.push_back(std::stoi(entry.path().filename()));
    }
    return found;
}
std::size_t virtual_machines() { return descriptors_of("anon_inode:kvm-vm").size(); }

TEST_F(AssistStart, AGuestWithoutAProgramNeedsNoVm) {
    real_mode({0xeb, 0xfe});
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(run_briefly().kind, ExitKind::BudgetUsed);
    EXPECT_EQ(virtual_machines(), 0u);
    EXPECT_EQ(engine->statistics().named["hand-overs to the CPU"], 0u);
    engine->collect_dirty();
}

// What RDTSC gives on the CPU is the host's; kernel and program are to see one counter.
TEST_F(AssistStart, AProgramWhoseTimeStampCounterWasMovedIsInterpreted) {
    user_mode({0x0f, 0x31, 0xeb, 0xfe});  // rdtsc; jmp $
    cpu().control.cr4 |= cr4::OSFXSR;
    cpu().msrs.tsc_adjust = 1;
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(run_briefly().kind, ExitKind::BudgetUsed);
    EXPECT_EQ(engine->statistics().named["hand-overs to the CPU"], 0u);
    EXPECT_GT(engine->statistics().named["interpreted: time stamp counter moved"], 0u);
}

TEST_F(AssistStart, TheFirstProgramBringsTheVm) {
    program();
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(virtual_machines(), 0u);
    // A busy host may need the whole of a budget to make the VM.
    const auto hand_overs = [this] { return engine->statistics().named["hand-overs to the CPU"]; };
    for (unsigned runs = 0; runs < 100 && hand_overs() == 0; ++runs) {
        ASSERT_EQ(run_briefly().kind, ExitKind::BudgetUsed);
    }
    EXPECT_GT(hand_overs(), 0u);
    EXPECT_EQ(virtual_machines(), 1u);
}

TEST_F(AssistStart, ItIsThereAtOnceForWhoMeasuresTimes) {
    program();
    start_assisted(/*ready_made=*/true);
    if (IsSkipped()) return;
    EXPECT_EQ(virtual_machines(), 1u);
    EXPECT_EQ(run_briefly().kind, ExitKind::BudgetUsed);
    EXPECT_EQ(virtual_machines(), 1u);
}

TEST_F(AssistStart, AVmThatCannotBeMadeEndsTheRunWithTheReason) {
    program();
    start_assisted();
    if (IsSkipped()) return;
    // What was KVM when the engine was made is KVM no more.
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int kvm : descriptors_of("/dev/kvm")) ASSERT_GE(dup3(null, kvm, O_CLOEXEC), 0);
    close(null);
    const Exit exit = run_briefly();
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_EQ(exit.rip, kCode);
    EXPECT_EQ(exit.status, ExitStatus::EngineUnavailable);
    EXPECT_NE(exit.text.find("no vCPU for the guest's programs"), std::string::npos) << exit.text;
    EXPECT_NE(exit.text.find("KVM_CREATE_VM"), std::string::npos) << exit.text;
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
