#include "dualvm/study/switching.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "scripted_engine.h"

namespace dualvm::study {
namespace {

using Kind = SwitchCondition::Kind;

// Two engines that "execute" by counting RIP up, on a CpuFile of their own that only pull and push connect with the
// machine's.
class CountingEngine final : public Engine {
public:
    CountingEngine(Machine& machine, Capabilities can, bool single_step)
        : machine_(machine), can_(can), single_step_(single_step) {}

    const char* name() const override { return "counting"; }
    Capabilities capabilities() const override { return can_; }
    TriedCapabilities tried_capabilities() const override { return {.single_step = single_step_}; }
    Exit run(const Budget& budget) override {
        budgets.push_back(budget);
        if (failing) return Exit{.kind = ExitKind::Failure};
        for (u64 i = 0; i < std::min<u64>(budget.instructions, kRunsFor); ++i) {
            if (machine_.attention()) return Exit{.kind = ExitKind::Attention};
            if (std::exchange(kicked, false)) return Exit{.kind = ExitKind::Kicked};
            ++cpu.general.rip;
            ++executed;
            if (cpu.general.rip == halts_at) return Exit{.kind = ExitKind::Halt};
            if (cpu.general.rip == raises_at) cpu.segments.seg[SS].access &= ~u32{Segment::DplMask};
            if (cpu.general.rip == writes_at) {
                Exit exit{.kind = ExitKind::PortWrite, .address = 0x80, .size = 1, .data = &byte};
                if (!handles_exits) return exit;
                handle_exit(machine_, exit);
            }
            const bool program = cpu.cpl() == 3;
            if (can_.stops_at_modes && budget.until == Until::Program && program)
                return Exit{.kind = ExitKind::UserMode};
            if (can_.stops_at_modes && budget.until == Until::Kernel && !program) {
                return Exit{.kind = ExitKind::KernelMode};
            }
        }
        return Exit{.kind = budget.instructions == 1 ? ExitKind::SingleStep : ExitKind::BudgetUsed};
    }
    void kick() override { kicked = true; }
    void pull(Groups groups) override {
        finish_access();
        ++pulls;
        if (any(groups & Groups::General)) machine_.cpu().general = cpu.general;
        if (any(groups & ~Groups::General)) machine_.cpu() = cpu;
    }
    void push(Groups) override {
        ++pushes;
        cpu = machine_.cpu();
    }
    void finish_access() override { ++finished; }
    u64 instructions() const override { return can_.exact_instruction_counts ? executed : 0; }
    EngineStatistics statistics() const override {
        EngineStatistics statistics;
        statistics.pulls = pulls;
        statistics.pushes = pushes;
        statistics.exits[static_cast<std::size_t>(ExitKind::Halt)] = 1;
        return statistics;
    }

    static constexpr u64 kRunsFor = 100'000;  // without a budget
    CpuFile cpu;
    u64 executed = 0, pulls = 0, pushes = 0, finished = 0;
    u64 writes_at = 0, halts_at = 0, raises_at = 0;
    u8 byte = 0;
    bool handles_exits = false, failing = false, kicked = false;
    std::vector<Budget> budgets;

private:
    Machine& machine_;
    Capabilities can_;
    bool single_step_;
};

struct Switching : testing::Test {
    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Host}));
    CountingEngine* a = nullptr;
    CountingEngine* b = nullptr;
    std::unique_ptr<SwitchingEngine> engine;

    static constexpr Capabilities kCounts{.exact_instruction_counts = true};

    Expected<std::unique_ptr<SwitchingEngine>> create(SwitchPlan plan, Capabilities of_b = {}, bool b_steps = false,
                                                      Capabilities of_a = kCounts) {
        auto first = std::make_unique<CountingEngine>(*machine, of_a, false);
        auto second = std::make_unique<CountingEngine>(*machine, of_b, b_steps);
        a = first.get();
        b = second.get();
        std::vector<SwitchingEngine::Part> parts;
        parts.push_back({"a", std::move(first)});
        parts.push_back({"b", std::move(second)});
        return SwitchingEngine::create(*machine, std::move(parts), std::move(plan));
    }
    template <class... Arguments>
    void make(Arguments&&... arguments) {
        auto made = create(std::forward<Arguments>(arguments)...);
        ASSERT_TRUE(made) << made.error().text;
        engine = std::move(*made);
        machine->cpu() = {};
        engine->push(Groups::All);
    }
};

TEST_F(Switching, AGuestIsHandedOverAfterExactlySoManyInstructions) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 1000}, "b"}}});
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(a->executed, 1000u);
    EXPECT_GT(b->cpu.general.rip, 1000u);
    EXPECT_EQ(engine->active(), 1u);
    EXPECT_EQ(engine->hand_overs(), 1u);
}

TEST_F(Switching, RulesAreArmedOneAfterTheOther) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 10}, "b"}, {{Kind::Instructions, 5}, "a"}}}, kCounts);
    engine->run({.instructions = 100});
    EXPECT_EQ(b->executed, 5u);
    EXPECT_EQ(a->executed, 95u);
    EXPECT_EQ(a->cpu.general.rip, 100u);
}

TEST_F(Switching, RepeatStartsOverAtTheFirstRule) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 10}, "b"}, {{Kind::Instructions, 5}, "a"}}, .repeat = true},
         kCounts);
    engine->run({.instructions = 150});
    EXPECT_EQ(a->executed, 100u);
    EXPECT_EQ(b->executed, 50u);
    EXPECT_EQ(engine->instructions(), 150u);
    // The last rule has fired; the hand-over comes when the guest runs on.
    EXPECT_EQ(engine->hand_overs(), 20u);
}

TEST_F(Switching, TheWholeBudgetIsUsedAndNotMore) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 10}, "b"}}}, kCounts);
    EXPECT_EQ(engine->run({.instructions = 7}).kind, ExitKind::BudgetUsed);
    EXPECT_EQ(engine->instructions(), 7u);
    EXPECT_EQ(engine->run({.instructions = 1}).kind, ExitKind::SingleStep);
    EXPECT_EQ(engine->run({.instructions = 7}).kind, ExitKind::BudgetUsed);
    EXPECT_EQ(engine->instructions(), 15u);
    EXPECT_EQ(a->executed, 10u);
}

TEST_F(Switching, TheBudgetsTimeIsKeptWhileStepping) {
    make(SwitchPlan{.rules = {{{Kind::Rip, kUnlimited}, "b"}}});
    EXPECT_EQ(engine->run({.host_time = 50'000'000}).kind, ExitKind::BudgetUsed);
}

TEST_F(Switching, InstructionsOfAnEngineThatOnlyStepsAreCountedByStepping) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 3}, "b"}, {{Kind::Instructions, 4}, "a"}}}, Capabilities{}, true);
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(b->executed, 4u);
    EXPECT_EQ(a->cpu.general.rip, a->executed + 4);
}

TEST_F(Switching, ASteppedAccessCountsOnceTheMachineHasHandledIt) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 1}, "b"}, {{Kind::Instructions, 2}, "a"}}}, Capabilities{}, true);
    b->writes_at = 2;
    Exit exit = engine->run({});
    EXPECT_EQ(exit.kind, ExitKind::PortWrite);
    EXPECT_EQ(engine->active(), 1u);
    EXPECT_EQ(b->finished, 0u);
    EXPECT_EQ(engine->run({.instructions = 1}).kind, ExitKind::SingleStep);
    EXPECT_EQ(b->finished, 1u);
    EXPECT_EQ(b->executed, 1u);
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(b->executed, 2u);
    EXPECT_EQ(engine->active(), 0u);
}

TEST_F(Switching, AnAddressIsStoppedAtBeforeItsInstruction) {
    make(SwitchPlan{.rules = {{{Kind::Rip, 0x40}, "b"}}});
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(a->cpu.general.rip, 0x40u);
}

TEST_F(Switching, ACr3OfAnyOtherValueIsAChange) {
    make(SwitchPlan{.rules = {{{Kind::Cr3, std::nullopt}, "b"}}});
    engine->run({.instructions = 5});
    EXPECT_EQ(engine->active(), 0u);
    a->cpu.control.cr3 = 0x1000;
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(a->executed, 6u);
    EXPECT_EQ(engine->active(), 1u);
}

TEST_F(Switching, ACr3ThatIsThereAlreadyDoesNotBecomeSo) {
    make(SwitchPlan{.rules = {{{Kind::Cr3, u64{0}}, "b"}}});
    engine->run({.instructions = 5});
    EXPECT_EQ(engine->active(), 0u);
}

TEST_F(Switching, ARingIsWatchedForByStepping) {
    make(SwitchPlan{.rules = {{{Kind::Ring, 0}, "b"}}});
    a->cpu.control.cr0 = cr0::PE;
    a->cpu.segments.seg[SS].access = Segment::DplMask;
    a->raises_at = 8;
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(a->executed, 8u);
    EXPECT_EQ(engine->active(), 1u);
}

TEST_F(Switching, AProgramsEndIsWatchedForByTheEngineItself) {
    Capabilities can = kCounts;
    can.stops_at_modes = true;
    make(SwitchPlan{.rules = {{{Kind::Kernel, std::nullopt}, "b"}}}, Capabilities{}, false, can);
    a->cpu.control.cr0 = cr0::PE;
    a->cpu.control.efer = efer::LMA;
    a->cpu.segments.seg[CS].access = Segment::L;
    a->cpu.segments.seg[SS].access = Segment::DplMask;
    a->raises_at = 8;
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(a->budgets.front().until, Until::Kernel);
    EXPECT_GT(a->budgets.front().instructions, 1u);
    EXPECT_EQ(a->executed, 8u);
    EXPECT_EQ(engine->active(), 1u);
}

TEST_F(Switching, APortWriteIsTheMachinesBeforeTheGuestIsHandedOver) {
    make(SwitchPlan{.rules = {{{Kind::Port, 0x80}, "b"}}});
    a->writes_at = 10;
    Exit exit = engine->run({});
    EXPECT_EQ(exit.kind, ExitKind::PortWrite);
    EXPECT_EQ(engine->active(), 0u);
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(a->executed, 10u);
    EXPECT_EQ(engine->active(), 1u);
}

TEST_F(Switching, APortWriteThatTheEngineHandlesItselfIsHeardOfBesideOtherObservers) {
    make(SwitchPlan{.rules = {{{Kind::Port, 0x80}, "b"}}});
    unsigned heard = 0;
    machine->observe_exits([&](const Exit&) { ++heard; });
    a->writes_at = 10;
    a->handles_exits = true;
    EXPECT_EQ(engine->run({}).kind, ExitKind::Attention);
    EXPECT_EQ(heard, 1u);
    machine->clear_attention();
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(a->executed, 10u);
    EXPECT_EQ(engine->active(), 1u);
    Exit other{.kind = ExitKind::Halt};
    handle_exit(*machine, other);
    EXPECT_EQ(heard, 2u);
}

TEST_F(Switching, AnotherPortIsNone) {
    make(SwitchPlan{.rules = {{{Kind::Port, 0x81}, "b"}}});
    a->writes_at = 10;
    engine->run({});
    engine->run({.instructions = 5});
    EXPECT_EQ(engine->active(), 0u);
}

TEST_F(Switching, TimeIsTheHosts) {
    make(SwitchPlan{.rules = {{{Kind::Time, 2'000'000}, "b"}}});
    while (engine->active() == 0) engine->run({.host_time = 500'000});
    EXPECT_EQ(engine->hand_overs(), 1u);
}

TEST_F(Switching, AHandOverToTheEngineThatHasTheGuestIsNone) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 5}, "a"}, {{Kind::Instructions, 5}, "b"}}});
    const u64 pushes = a->pushes;
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(a->executed, 10u);
    EXPECT_EQ(a->pushes, pushes);
    EXPECT_EQ(engine->hand_overs(), 1u);
}

TEST_F(Switching, AHaltedGuestIsHandedOverToo) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 5}, "b"}}});
    a->halts_at = 5;
    EXPECT_EQ(engine->run({}).kind, ExitKind::Halt);
    engine->run({.host_time = 50'000'000});
    EXPECT_EQ(engine->active(), 1u);
}

TEST_F(Switching, AFailureOnTheWayOutIsTold) {
    make(SwitchPlan{.rules = {{{Kind::Time, 1}, "b"}}});
    a->failing = true;
    EXPECT_EQ(engine->run({}).kind, ExitKind::Failure);
    EXPECT_EQ(engine->active(), 0u);
}

TEST_F(Switching, AKickIsHeardWhoeverHasTheGuest) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 5}, "b"}}});
    engine->run({.instructions = 5});
    engine->kick();
    a->kicked = false;  // as if it had been heard on the way out
    EXPECT_EQ(engine->run({}).kind, ExitKind::Kicked);
    EXPECT_EQ(engine->active(), 1u);
}

TEST_F(Switching, StatisticsAreTheSumAndTellOfTheHandOvers) {
    make(SwitchPlan{.rules = {{{Kind::Instructions, 5}, "b"}}});
    engine->run({.host_time = 50'000'000});
    const EngineStatistics statistics = engine->statistics();
    EXPECT_EQ(statistics.pulls, a->pulls + b->pulls);
    EXPECT_EQ(statistics.exits[static_cast<std::size_t>(ExitKind::Halt)], 2u);
    EXPECT_EQ(statistics.named.at("hand-overs"), 1u);
    EXPECT_EQ(statistics.named.at("hand-overs to b"), 1u);
    EXPECT_TRUE(statistics.named.contains("milliseconds under a"));
}

TEST_F(Switching, ItCanDoWhatAllOfItsEnginesCan) {
    make(SwitchPlan{});
    EXPECT_FALSE(engine->capabilities().exact_instruction_counts);
    make(SwitchPlan{}, kCounts);
    EXPECT_TRUE(engine->capabilities().exact_instruction_counts);
}

TEST_F(Switching, WhatAnEngineCannotWatchForIsRefusedWithWhatToDo) {
    for (const SwitchCondition& when :
         {SwitchCondition{Kind::Instructions, 5}, SwitchCondition{Kind::Rip, 5}, SwitchCondition{Kind::Cr3, {}},
          SwitchCondition{Kind::Ring, 3}, SwitchCondition{Kind::Kernel, {}}}) {
        const auto made = create({.rules = {{{Kind::Time, 1}, "b"}, {when, "a"}}});
        ASSERT_FALSE(made);
        EXPECT_EQ(made.error().status, ExitStatus::EngineUnavailable);
        EXPECT_NE(made.error().text.find(to_text(when) + ",to=a: the engine 'b'"), std::string::npos)
            << made.error().text;
        EXPECT_NE(made.error().text.find("port:"), std::string::npos);
    }
    EXPECT_TRUE(create({.rules = {{{Kind::Time, 1}, "b"}, {{Kind::Port, 1}, "a"}}}));
}

TEST_F(Switching, ARuleThatIsFirstAgainIsWatchedByWhomTheLastOneNames) {
    const std::vector<SwitchRule> rules = {{{Kind::Instructions, 5}, "b"}};
    EXPECT_TRUE(create({.rules = rules}));
    EXPECT_FALSE(create({.rules = rules, .repeat = true}));
}

TEST_F(Switching, AnUnknownEngineIsRefused) {
    const auto made = create({.rules = {{{Kind::Time, 1}, "c"}}});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().status, ExitStatus::Usage);
}

}  // namespace
}  // namespace dualvm::study
