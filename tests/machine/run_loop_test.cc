#include "dualvm/run_loop.h"

#include <gtest/gtest.h>

#include <utility>

namespace dualvm {
namespace {

// An engine whose guest does one thing, for ever.
class Monotonous final : public Engine {
public:
    explicit Monotonous(std::function<Exit()> next) : next_(std::move(next)) {}
    const char* name() const override { return "monotonous"; }
    Capabilities capabilities() const override { return {}; }
    TriedCapabilities tried_capabilities() const override { return {}; }
    Exit run(const Budget&) override { return next_(); }
    void kick() override {}
    void pull(Groups) override {}
    void push(Groups) override {}
    u64 instructions() const override { return 0; }
    EngineStatistics statistics() const override { return {}; }

private:
    std::function<Exit()> next_;
};

struct RunLoop : testing::Test {
    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Host}));
    RunHooks hooks;
    RunLimits limits{.timeout = 20'000'000};
};

TEST_F(RunLoop, AGuestThatDoesNothingButPortAccessesMeetsItsTimeLimit) {
    std::array<u8, 1> data{};
    Monotonous engine(
        [&] { return Exit{.kind = ExitKind::PortWrite, .address = 0x80, .size = 1, .data = data.data()}; });
    const RunResult result = run_loop(*machine, engine, limits, hooks);
    EXPECT_EQ(result.reason, "timeout");
    EXPECT_EQ(result.status, static_cast<int>(ExitStatus::Limit));
}

TEST_F(RunLoop, AGuestThatDoesNothingButResetMeetsItsTimeLimit) {
    unsigned boots = 0;
    hooks.reboot = [&]() -> Expected<void> {
        ++boots;
        return {};
    };
    Monotonous engine([&] {
        machine->request({.kind = RequestKind::Reset});
        return Exit{.kind = ExitKind::Attention};
    });
    EXPECT_EQ(run_loop(*machine, engine, limits, hooks).reason, "timeout");
    EXPECT_GT(boots, 0u);
}

TEST_F(RunLoop, ATripleFaultIsAnEndOfItsOwn) {
    hooks.reboot = [] { return Expected<void>{}; };
    Monotonous engine([] { return Exit{.kind = ExitKind::Shutdown}; });
    const RunResult result = run_loop(*machine, engine, limits, hooks);
    EXPECT_EQ(result.reason, "triple-fault");
    EXPECT_EQ(result.status, static_cast<int>(ExitStatus::TripleFault));
}

TEST_F(RunLoop, ATripleFaultIsAResetWhereSoAsked) {
    hooks.triple_fault_resets = true;
    Monotonous engine([] { return Exit{.kind = ExitKind::Shutdown}; });
    const RunResult result = run_loop(*machine, engine, limits, hooks);
    EXPECT_EQ(result.reason, "reset");
    EXPECT_EQ(result.status, static_cast<int>(ExitStatus::Clean));
}

TEST_F(RunLoop, AnInstructionThatTheEngineCannotExecuteEndsTheRun) {
    Monotonous engine([] {
        return Exit{.kind = ExitKind::Failure, .rip = 0x1234, .bytes = {0x0f, 0x0b}, .byte_count = 2, .text = "why"};
    });
    const RunResult result = run_loop(*machine, engine, limits, hooks);
    EXPECT_EQ(result.reason, "engine-failure");
    EXPECT_EQ(result.status, static_cast<int>(ExitStatus::EngineFailure));
    EXPECT_NE(result.text.find("0x1234: why; bytes 0f 0b"), std::string::npos) << result.text;
}

TEST_F(RunLoop, AHostThatHasNothingToRunTheGuestWithIsAnEngineNotAvailable) {
    Monotonous engine([] {
        return Exit{
            .kind = ExitKind::Failure, .rip = 0x1234, .text = "no vCPU", .status = ExitStatus::EngineUnavailable};
    });
    const RunResult result = run_loop(*machine, engine, limits, hooks);
    EXPECT_EQ(result.reason, "engine-unavailable");
    EXPECT_EQ(result.status, static_cast<int>(ExitStatus::EngineUnavailable));
}

TEST_F(RunLoop, AGuestThatDoesNothingButTripleFaultMeetsItsTimeLimit) {
    unsigned boots = 0;
    hooks.triple_fault_resets = true;
    hooks.reboot = [&]() -> Expected<void> {
        ++boots;
        return {};
    };
    Monotonous engine([] { return Exit{.kind = ExitKind::Shutdown}; });
    EXPECT_EQ(run_loop(*machine, engine, limits, hooks).reason, "timeout");
    EXPECT_GT(boots, 0u);
}

TEST_F(RunLoop, ATimerThatIsArmedAnewWhenItFiresLeavesTheGuestItsTime) {
    Clock& clock = machine->clock();
    Timer timer(clock, [&] { timer.arm(clock.now() + 1); });
    timer.arm(1);
    bool called_back = false;
    Monotonous engine([&] {
        called_back = called_back || machine->attention();
        return Exit{.kind = ExitKind::BudgetUsed};
    });
    EXPECT_EQ(run_loop(*machine, engine, limits, hooks).reason, "timeout");
    EXPECT_FALSE(called_back);
}

// SDM vol. 3A, 6.7.1: until IRET no NMI is delivered, and HLT is no IRET.
TEST_F(RunLoop, HltInAnNmiHandlerWaitsForMoreThanAnNmi) {
    auto virtual_machine = *Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Virtual});
    EventGroup& events = virtual_machine->cpu().events;
    virtual_machine->cpu().general.rflags |= rflags::IF;
    events.nmi_pending = events.nmi_masked = true;
    unsigned ticks = 0;
    Timer timer(virtual_machine->clock(), [&] { ++ticks; });
    timer.arm(1'000'000);
    Monotonous engine([] { return Exit{.kind = ExitKind::Halt}; });
    EXPECT_EQ(run_loop(*virtual_machine, engine, limits, hooks).reason, "halted");
    EXPECT_EQ(ticks, 1u);
}

// SDM vol. 2A, "HLT": an NMI wakes the CPU whatever IF is, and a watchdog's comes with time.
TEST_F(RunLoop, HltWithInterruptsDisabledWaitsForATimerThatIsAnNmi) {
    class Watchdog final : public InterruptSource {
        bool pending() const override { return false; }
        u8 acknowledge() override { return 0; }
        bool may_raise_nmi() const override { return true; }
    } watchdog;
    auto virtual_machine = *Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Virtual});
    virtual_machine->set_interrupt_source(&watchdog);
    Timer timer(virtual_machine->clock(), [&] { virtual_machine->raise_nmi(); });
    timer.arm(1'000'000);
    Monotonous engine([&] {
        EventGroup& events = virtual_machine->cpu().events;
        if (!std::exchange(events.nmi_pending, false)) return Exit{.kind = ExitKind::Halt};
        virtual_machine->request({.kind = RequestKind::PowerOff});
        return Exit{.kind = ExitKind::Attention};
    });
    EXPECT_EQ(run_loop(*virtual_machine, engine, limits, hooks).reason, "power-off");
}

TEST_F(RunLoop, AGuestThatDoesNothingButPortAccessesGetsItsInput) {
    std::array<u8, 1> data{};
    unsigned polls = 0;
    hooks.poll = [&] { ++polls; };
    Monotonous engine(
        [&] { return Exit{.kind = ExitKind::PortRead, .address = 0x3fd, .size = 1, .data = data.data()}; });
    run_loop(*machine, engine, limits, hooks);
    EXPECT_GT(polls, 1u);
}

}  // namespace
}  // namespace dualvm
