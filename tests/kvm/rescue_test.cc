// Another engine executes what KVM cannot.
#include "rescue.h"

#include <deque>

#include "small_guest.h"

namespace dualvm {
namespace {

// Does what it is told, one step a run().
class FakeEngine final : public Engine {
public:
    explicit FakeEngine(Machine& machine) : machine_(machine) {}
    struct Step {
        ExitKind kind = ExitKind::SingleStep;
        u64 advance = 0;     // of RIP
        bool write = false;  // to memory
        std::string text = {};
    };
    const char* name() const override { return "fake"; }
    Capabilities capabilities() const override { return {}; }
    TriedCapabilities tried_capabilities() const override { return {.single_step = true}; }
    Exit run(const Budget& budget) override {
        EXPECT_EQ(budget.instructions, 1u);
        Step step = steps.empty() ? usual : steps.front();
        if (!steps.empty()) steps.pop_front();
        machine_.cpu().general.rip += step.advance;
        if (step.write) machine_.vmem().mark_dirty(0x5000);
        Exit exit;
        exit.kind = step.kind;
        exit.text = step.text;
        exit.address = 0x500;
        exit.size = 1;
        exit.data = &data_;
        ++runs;
        return exit;
    }
    void kick() override {}
    void pull(Groups) override {}
    void push(Groups groups) override { EXPECT_EQ(groups, Groups::All); }
    void finish_access() override { machine_.cpu().general.rip += 1; }
    u64 instructions() const override { return 0; }
    EngineStatistics statistics() const override { return {}; }

    std::deque<Step> steps;
    Step usual = {ExitKind::SingleStep, 1};
    unsigned runs = 0;

private:
    Machine& machine_;
    u8 data_ = 0x42;
};

class Rescue : public SmallGuest {
protected:
    // A rescuer whose engine takes these steps.
    kvm::Rescuer::Result execute(std::deque<FakeEngine::Step> steps) {
        auto fake = std::make_unique<FakeEngine>(*machine);
        fake->steps = std::move(steps);
        fake->usual = {ExitKind::Kicked, 0};
        return kvm::Rescuer(*machine, std::move(fake)).execute_one();
    }
    // The engine under test, with a fake one that takes the given step each time.
    FakeEngine* rescue_with(FakeEngine::Step usual) {
        auto fake = std::make_unique<FakeEngine>(*machine);
        fake->usual = usual;
        FakeEngine* raw = fake.get();
        start(std::move(fake));
        return raw;
    }
    // 64-bit mode at ring 0: FWAIT, which some KVMs cannot emulate, then HLT.
    void kernel_fwait() {
        user_mode({0x9b, 0xf4});
        for (Segment& s : cpu().segments.seg) s.access &= ~u32{Segment::DplMask};
        for (Segment& s : cpu().segments.seg) s.selector = static_cast<u16>(s.selector & ~3u);
    }
};

TEST_F(Rescue, AStepThatChangesSomethingIsExecuted) {
    const auto result = execute({{ExitKind::SingleStep, 3}});
    EXPECT_TRUE(result.executed);
    EXPECT_EQ(result.changed, Groups::General);
    EXPECT_EQ(result.length, 3u);
    EXPECT_FALSE(result.wrote_memory);
}

TEST_F(Rescue, AStepThatChangesNothingIsNone) { EXPECT_FALSE(execute({{ExitKind::SingleStep, 0}}).executed); }

TEST_F(Rescue, FailureOfTheOtherEngineIsHandedOn) {
    const auto result = execute({{ExitKind::Failure, 0, false, "no idea"}});
    EXPECT_FALSE(result.executed);
    EXPECT_EQ(result.exit.text, "no idea");
}

TEST_F(Rescue, AKickThatComesFirstIsPassedOver) {
    EXPECT_TRUE(execute({{ExitKind::Kicked, 0}, {ExitKind::Attention, 0}, {ExitKind::SingleStep, 1}}).executed);
}

TEST_F(Rescue, AnEngineThatIsKickedForEverIsGivenUp) { EXPECT_FALSE(execute({}).executed); }

TEST_F(Rescue, APortAccessIsHandledAndFinished) {
    const auto result = execute({{ExitKind::PortWrite, 0}});
    EXPECT_TRUE(result.executed);
    ASSERT_EQ(ports.accesses.size(), 1u);
    EXPECT_EQ(ports.accesses[0], (Recorder::Access{true, 0, 1, 0x42}));
}

TEST_F(Rescue, AttentionIsKeptForTheRunLoop) {
    machine->set_attention();
    EXPECT_TRUE(execute({{ExitKind::SingleStep, 1}}).executed);
    EXPECT_TRUE(machine->attention());
}

TEST_F(Rescue, MemoryThatItWritesIsNoticedAndOlderMarksStay) {
    machine->vmem().mark_dirty(0x3000);
    EXPECT_TRUE(execute({{ExitKind::SingleStep, 1, true}}).wrote_memory);
    EXPECT_TRUE(machine->vmem().is_dirty(0x3000));
    EXPECT_TRUE(machine->vmem().is_dirty(0x5000));
}

TEST_F(Rescue, EveryGroupIsComparedButTimeIsNot) {
    CpuFile a, b;
    b.msrs.tsc = 5;
    EXPECT_EQ(kvm::changed_groups(a, b), Groups::None);
    b.msrs.star = 1;
    b.general.rip = 1;
    b.segments.ldtr.base = 1;
    b.control.cr3 = 1;
    b.debug.dr7 = 1;
    b.fpu.fcw = 1;
    b.events.halted = true;
    EXPECT_EQ(kvm::changed_groups(a, b), Groups::All);
}

TEST_F(Rescue, NamesAreTheInstructionsBytesAndNotWithoutEnd) {
    std::map<std::string, u64> named;
    Exit failure;
    failure.byte_count = 15;
    failure.bytes[0] = 0x9b;
    kvm::count_rescue(named, failure, 1);
    kvm::count_rescue(named, failure, 1);
    EXPECT_EQ(named.at("rescued 9b"), 2u);
    for (unsigned i = 0; i < 1000; ++i) {
        failure.bytes[0] = static_cast<u8>(i);
        failure.bytes[1] = static_cast<u8>(i >> 8);
        kvm::count_rescue(named, failure, 2);
    }
    EXPECT_LE(named.size(), kvm::kRescueNames + 1);
    EXPECT_GT(named.at("rescued others"), 0u);
}

TEST_F(Rescue, LetsTheGuestGoOnBehindWhatKvmCannotEmulate) {
    kernel_fwait();
    FakeEngine* fake = rescue_with({ExitKind::SingleStep, 1});
    if (IsSkipped() || HasFatalFailure()) return;
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    if (fake->runs == 0) GTEST_SKIP() << "this host's KVM runs FWAIT itself";
    EXPECT_EQ(engine->statistics().rescues, 1u);
    EXPECT_EQ(engine->statistics().named.at("rescued 9b"), 1u);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.rip, kCode + 2);
}

TEST_F(Rescue, WithoutProgressIsAFailureWithAddressAndBytes) {
    kernel_fwait();
    FakeEngine* fake = rescue_with({ExitKind::SingleStep, 0});
    if (IsSkipped() || HasFatalFailure()) return;
    const Exit exit = run_on();
    if (fake->runs == 0) GTEST_SKIP() << "this host's KVM runs FWAIT itself";
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_EQ(exit.rip, kCode);
    EXPECT_EQ(exit.bytes[0], 0x9b);
    EXPECT_EQ(engine->statistics().rescues, 0u);
}

TEST_F(Rescue, IsNotThereUnlessGiven) {
    kernel_fwait();
    START_ENGINE();
    const Exit exit = run_on();
    if (exit.kind == ExitKind::Halt) GTEST_SKIP() << "this host's KVM runs FWAIT itself";
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_EQ(exit.rip, kCode);
    ASSERT_GE(exit.byte_count, 1);
    EXPECT_EQ(exit.bytes[0], 0x9b);
    EXPECT_NE(exit.text.find("cannot emulate"), std::string::npos) << exit.text;
}

TEST_F(Rescue, GoesOnBehindAPullInTheMiddleOfAnAccessThatKvmCannotWorkWith) {
    user_mode({0x48, 0x0f, 0xc7, 0x0c, 0x25, 0, 0, 0x0a, 0, 0xee});  // cmpxchg16b [a0000h];  out dx, al
    cpu().general.gpr[RDX] = kPort;
    auto fake = std::make_unique<FakeEngine>(*machine);
    fake->usual = {ExitKind::SingleStep, 9};
    START_ENGINE(std::move(fake));
    Exit exit = engine->run({.host_time = 1'000'000'000});
    if (exit.kind != ExitKind::MmioRead) GTEST_SKIP() << "this host's KVM reads nothing before it gives up";
    handle_exit(*machine, exit);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.rip, kCode);
    for (exit = engine->run({.host_time = 1'000'000'000}); exit.kind == ExitKind::MmioRead;) {
        handle_exit(*machine, exit);
        exit = engine->run({.host_time = 1'000'000'000});
    }
    EXPECT_EQ(exit.kind, ExitKind::PortWrite) << exit.text;
}

TEST_F(Rescue, ATripleFaultInItEndsTheRun) {
    kernel_fwait();
    FakeEngine* fake = rescue_with({ExitKind::Shutdown, 0});
    if (IsSkipped() || HasFatalFailure()) return;
    const Exit exit = run_on();
    if (fake->runs == 0) GTEST_SKIP() << "this host's KVM runs FWAIT itself";
    EXPECT_EQ(exit.kind, ExitKind::Shutdown);
}

}  // namespace
}  // namespace dualvm
