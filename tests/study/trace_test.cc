#include "dualvm/study/trace.h"

#include <gtest/gtest.h>

#include "scripted_engine.h"

namespace dualvm::study {
namespace {

// INC AX at each address: what a step of the scripted engine does too.
struct Trace : testing::Test {
    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 1}));
    std::vector<std::string> lines;
    std::function<void(std::string_view)> print = [this](std::string_view line) { lines.emplace_back(line); };
    CpuFile& cpu = machine->cpu();

    void SetUp() override {
        cpu.segments.seg[CS].base = 0;
        cpu.general.rip = 0x1000;
        ASSERT_TRUE(machine->vmem().fill(0x1000, 0x40, 256));
    }
    Exit step() {
        ++cpu.general.gpr[RAX];
        ++cpu.general.rip;
        ++engine.executed;
        return Exit{.kind = ExitKind::SingleStep};
    }
    ScriptedEngine engine{[this](const Budget& budget) {
                              Exit exit;
                              for (u64 i = 0; i < budget.instructions; ++i) exit = step();
                              return exit;
                          },
                          {.exact_instruction_counts = true}};
};

TEST_F(Trace, PrintsEachInstructionWithWhatItChanged) {
    TracingEngine tracer(*machine, engine, {.count = 2}, print);
    EXPECT_EQ(tracer.run({}).kind, ExitKind::Breakpoint);
    EXPECT_TRUE(tracer.done());
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_TRUE(lines[0].starts_with("    1000  40 ")) << lines[0];
    EXPECT_TRUE(lines[0].ends_with("; rax=0x1")) << lines[0];
    EXPECT_TRUE(lines[1].starts_with("    1001  40 ")) << lines[1];
}

TEST_F(Trace, KeepsToTheBudget) {
    TracingEngine tracer(*machine, engine, {}, print);
    EXPECT_EQ(tracer.run({.instructions = 3}).kind, ExitKind::BudgetUsed);
    EXPECT_EQ(lines.size(), 3u);
}

TEST_F(Trace, KeepsToTheBudgetsTime) {
    TracingEngine tracer(*machine, engine, {.count = kUnlimited}, [](std::string_view) {});
    EXPECT_EQ(tracer.run({.host_time = 1'000'000}).kind, ExitKind::BudgetUsed);
}

TEST_F(Trace, SkipsWithoutSteppingWhatIsNotWanted) {
    TracingEngine tracer(*machine, engine, {.skip = 10, .count = 1}, print);
    while (tracer.run({}).kind != ExitKind::Breakpoint) {
    }
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_TRUE(lines[0].starts_with("    100a")) << lines[0];
}

TEST_F(Trace, BeginsWhereRipIs) {
    TracingEngine tracer(*machine, engine, {.from_rip = 0x1005, .count = 1}, print);
    tracer.run({});
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_TRUE(lines[0].starts_with("    1005")) << lines[0];
}

TEST_F(Trace, AnAccessIsPrintedOnceTheMachineHasHandledIt) {
    bool pending = false;
    ScriptedEngine hardware{[&](const Budget&) {
                                pending = true;
                                return Exit{.kind = ExitKind::PortRead, .address = 0x60, .size = 1};
                            },
                            {}};
    hardware.on_finish = [&] {
        EXPECT_TRUE(pending);
        pending = false;
        cpu.general.gpr[RAX] = 0x55;
        ++cpu.general.rip;
    };
    TracingEngine tracer(*machine, hardware, {.count = 1}, print);
    EXPECT_EQ(tracer.run({}).kind, ExitKind::PortRead);
    EXPECT_TRUE(lines.empty());
    EXPECT_EQ(tracer.run({}).kind, ExitKind::Breakpoint);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_TRUE(lines[0].ends_with("; rax=0x55")) << lines[0];
}

TEST_F(Trace, MemoryThatCannotBeReadIsSaidToBeSo) {
    cpu.segments.seg[CS].base = 0xd0000000;
    TracingEngine tracer(*machine, engine, {.count = 1, .registers = false}, print);
    tracer.run({});
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_TRUE(lines[0].ends_with("(not readable)")) << lines[0];
}

}  // namespace
}  // namespace dualvm::study
