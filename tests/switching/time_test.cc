// Time goes on across hand-overs: timers, and the time stamp counter.
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/kvm/kvm_engine.h"
#include "dualvm/study/trace.h"
#include "guest_run.h"

namespace dualvm {
namespace {

using Kind = study::SwitchCondition::Kind;

// The guest sleeps in HLT and loops, and counts its timer's interrupts.
class Timer : public testing::TestWithParam<Other> {};

TEST_P(Timer, InterruptsComeWhoeverHasTheGuest) {
    const study::SwitchPlan plan{.rules = {{{Kind::Time, 3'000'000}, "other"}, {{Kind::Time, 3'000'000}, "interp"}},
                                 .repeat = true};
    const auto run = run_guest(timer_guest(), GetParam(), plan);
    if (!run && run.error().status == ExitStatus::EngineUnavailable) GTEST_SKIP() << run.error().text;
    ASSERT_TRUE(run) << run.error().text;
    EXPECT_EQ(run->result.reason, "debug-exit") << run->result.text;
    EXPECT_EQ(*run->output, "20 ticks in HLT\n20 ticks in a busy loop\n");
    EXPECT_GT(run->hand_overs, 4u);
    EXPECT_EQ(run->statistics.named.at("hand-overs"), run->hand_overs);
}

INSTANTIATE_TEST_SUITE_P(To, Timer, testing::Values(Other::Interp, Other::Kvm, Other::Assisted), [](const auto& other) {
    return other.param == Other::Interp ? "AnotherInterpreter"
           : other.param == Other::Kvm  ? "Kvm"
                                        : "TheAssistedEngine";
});

// A loop in 64-bit mode that reads the counter again and again, and writes to port F4h once it is less than before.
class TimeStampCounter : public testing::TestWithParam<unsigned> {
protected:
    static constexpr u64 kCode = 0x8000;

    void SetUp() override {
        machine = std::move(*Machine::create({.memory_mebibytes = 4, .clock = ClockKind::Host}));
        const std::vector<u8> code = {
            0x0f, 0x31,              // again: rdtsc
            0x48, 0xc1, 0xe2, 0x20,  // shl rdx, 32
            0x48, 0x09, 0xd0,        // or rax, rdx
            0x48, 0x39, 0xd8,        // cmp rax, rbx
            0x72, 0x05,              // jb less
            0x48, 0x89, 0xc3,        // mov rbx, rax
            0xeb, 0xed,              // jmp again
            0xe6, 0xf4,              // less: out 0xf4, al
            0xeb, 0xfe,              // jmp $
        };
        constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kForAll = 7, kLarge = 0x80;
        ASSERT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
        machine->vmem().write_value(kPml4, kPdpt | kForAll);
        machine->vmem().write_value(kPdpt, kPd | kForAll);
        machine->vmem().write_value(kPd, kForAll | kLarge);
        CpuFile& cpu = machine->cpu();
        cpu.reset();
        const unsigned ring = GetParam();
        const u32 all = Segment::P | Segment::S | ring << Segment::DplShift | Segment::G;
        for (Segment& s : cpu.segments.seg) s = {0, 0xffffffff, all | Segment::DB | 3, static_cast<u16>(0x28 | ring)};
        cpu.segments.seg[CS] = {0, 0xffffffff, all | Segment::L | 11, static_cast<u16>(0x30 | ring)};
        cpu.control.cr0 = cr0::PE | cr0::MP | cr0::ET | cr0::NE | cr0::PG;
        cpu.control.cr3 = kPml4;
        cpu.control.cr4 = cr4::PAE;
        cpu.control.efer = efer::LME | efer::LMA;
        cpu.general.rip = kCode;
        cpu.general.rflags |= rflags::IOPL;
        machine->observe_exits([this](const Exit& exit) { went_back = went_back || exit.kind == ExitKind::PortWrite; });
    }
    void hand_over_and_over(bool host_tsc) {
        std::vector<study::SwitchingEngine::Part> parts;
        parts.push_back({"interp", make_interpreter(*machine, {.without = {}, .host_tsc = host_tsc})});
        auto kvm = make_kvm_engine(*machine, {});
        if (!kvm) GTEST_SKIP() << kvm.error().text;
        parts.push_back({"kvm", std::move(*kvm)});
        auto made = study::SwitchingEngine::create(
            *machine, std::move(parts),
            {.rules = {{{Kind::Time, 1'000'000}, "kvm"}, {{Kind::Time, 1'000'000}, "interp"}}, .repeat = true});
        ASSERT_TRUE(made) << made.error().text;
        (*made)->push(Groups::All);
        const RunResult result = run_loop(*machine, **made, {.timeout = 100'000'000}, {});
        EXPECT_EQ(result.reason, "timeout") << result.text;
        EXPECT_GT((*made)->hand_overs(), 4u);
        EXPECT_FALSE(went_back);
    }

    std::unique_ptr<Machine> machine;
    bool went_back = false;
};

TEST_P(TimeStampCounter, NeverGoesBackWhereTheInterpretersIsTheHosts) { hand_over_and_over(true); }
TEST_P(TimeStampCounter, NeverGoesBackWhereTheInterpretersCountsTheClock) { hand_over_and_over(false); }

INSTANTIATE_TEST_SUITE_P(Ring, TimeStampCounter, testing::Values(0u, 3u), testing::PrintToStringParamName());

TEST(TimeStampCounterOfTheInterpreter, GoesOnFromWhereAnotherEngineHasMovedIt) {
    const auto machine = std::move(*Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Host}));
    const auto interp = make_interpreter(*machine, {.without = {}, .host_tsc = true});
    interp->pull(Groups::Msrs);
    const u64 ahead = machine->cpu().msrs.tsc + (u64{1} << 50);
    machine->cpu().msrs.tsc = ahead;
    interp->push(Groups::Msrs);
    interp->pull(Groups::Msrs);
    EXPECT_GE(machine->cpu().msrs.tsc, ahead);
    machine->cpu().msrs.tsc = 0;  // as after a RESET, which the host's counter knows nothing of
    interp->push(Groups::Msrs);
    interp->pull(Groups::Msrs);
    EXPECT_GE(machine->cpu().msrs.tsc, ahead);
}

TEST(VirtualClock, CountsTheInstructionsOfAllInterpreters) {
    const auto machine = std::move(*Machine::create({.memory_mebibytes = 1}));
    const auto a = make_interpreter(*machine), b = make_interpreter(*machine);
    machine->vmem().fill(0, 0x90, 0x10000);  // nop
    machine->cpu().segments.seg[CS].base = 0;
    machine->cpu().general.rip = 0;
    for (Engine* engine : {a.get(), b.get(), a.get()}) {
        engine->push(Groups::All);
        engine->run({.instructions = 100});
        engine->pull(Groups::All);
    }
    EXPECT_EQ(machine->cpu().general.rip, 300u);
    EXPECT_EQ(machine->virtual_clock()->instructions(), 300u);
}

// A guest that has waited for its ports five times before the timer fires: it fires in time nevertheless.
struct TimerOnTheVirtualClock : testing::Test {
    static constexpr Nanoseconds kTime = 10'000;
    static constexpr u64 kPorts = 5;

    TimerOnTheVirtualClock() {
        const u8 code[] = {0xe4, 0x80, 0xe4, 0x80, 0xe4, 0x80, 0xe4, 0x80, 0xe4, 0x80,  // in al, 0x80
                           0xeb, 0xfe};                                                 // jmp $
        machine->vmem().write(0, code, sizeof code);
        machine->cpu().segments.seg[CS].base = 0;
        machine->cpu().general.rip = 0;
        timer.arm(kTime);
    }
    void fires_in_time(Engine& engine) {
        engine.push(Groups::All);
        const RunResult result = run_loop(*machine, engine, {.max_instructions = 2 * kTime}, {});
        EXPECT_EQ(result.reason, "power-off") << result.text;
        EXPECT_EQ(fired_at, kTime);
        EXPECT_EQ(result.instructions, kTime - kPorts * VirtualClock::kNanosecondsPerPortAccess);
    }

    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 1}));
    std::unique_ptr<Engine> interp = make_interpreter(*machine);
    Nanoseconds fired_at = 0;
    dualvm::Timer timer{machine->clock(), [this] {
                            fired_at = machine->clock().now();
                            machine->request({.kind = RequestKind::PowerOff});
                        }};
};

TEST_F(TimerOnTheVirtualClock, FiresInTime) { fires_in_time(*interp); }

TEST_F(TimerOnTheVirtualClock, FiresInTimeForAnEngineThatIsStepped) {
    std::vector<study::SwitchingEngine::Part> parts;
    parts.push_back({"interp", std::move(interp)});
    auto made = study::SwitchingEngine::create(*machine, std::move(parts), {.rules = {{{Kind::Cr3}, "interp"}}});
    ASSERT_TRUE(made) << made.error().text;
    fires_in_time(**made);
}

TEST_F(TimerOnTheVirtualClock, FiresInTimeForAnEngineThatIsTraced) {
    study::TracingEngine tracer(*machine, *interp, {.skip = 3, .count = kUnlimited}, [](std::string_view) {});
    fires_in_time(tracer);
}

}  // namespace
}  // namespace dualvm
