// Interpreters on one machine that take the guest from each other: what is not in CpuFile.
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/study/switching.h"

namespace dualvm {
namespace {

using Kind = study::SwitchCondition::Kind;

class TakeOver : public testing::Test {
protected:
    // In real mode, all segments and RIP at 0.
    void load(const std::vector<u8>& code) {
        ASSERT_TRUE(machine->vmem().write(0, code.data(), code.size()));
        for (Segment& s : machine->cpu().segments.seg) s.base = 0, s.selector = 0;
        machine->cpu().general.rip = 0;
        machine->cpu().general.gpr[RSP] = 0x8000;
    }
    std::unique_ptr<study::SwitchingEngine> switching(study::SwitchPlan plan) {
        std::vector<study::SwitchingEngine::Part> parts;
        parts.push_back({"a", make_interpreter(*machine)});
        parts.push_back({"b", make_interpreter(*machine)});
        auto made = study::SwitchingEngine::create(*machine, std::move(parts), std::move(plan));
        (*made)->push(Groups::All);
        return std::move(*made);
    }

    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 1}));
};

TEST_F(TakeOver, DmaOntoCodeIsSeenByWhoeverHasTheGuest) {
    load({0x40, 0xeb, 0xfd});  // again: inc ax; jmp again
    const auto engine = switching({});
    engine->run({.instructions = 100});
    constexpr u8 kNop = 0x90;
    ASSERT_TRUE(machine->vmem().write_value(0, kNop));
    engine->run({.instructions = 100});
    engine->pull(Groups::All);
    EXPECT_EQ(machine->cpu().general.gpr[RAX], 50u);
}

TEST_F(TakeOver, CodeThatAnotherEngineHasWrittenIsExecutedAsItIsNow) {
    // The loop makes itself a loop of NOPs in its eleventh turn, when the other engine has it.
    load({0x40, 0x3d, 0x0b, 0x00, 0x75, 0xfa, 0xc6, 0x06, 0x00, 0x00, 0x90, 0xeb, 0xf3});
    const auto engine = switching({.rules = {{{Kind::Instructions, 29}, "b"}, {{Kind::Instructions, 12}, "a"}}});
    engine->run({.instructions = 200});
    engine->pull(Groups::All);
    EXPECT_EQ(engine->hand_overs(), 2u);
    EXPECT_EQ(machine->cpu().general.gpr[RAX], 11u);
}

TEST_F(TakeOver, AStringInstructionThatIsHalfDoneGoesOn) {
    load({0xb9, 0x10, 0x27, 0xbe, 0x00, 0x40, 0xf3, 0xac, 0x90});  // mov cx, 10000; mov si, 0x4000; rep lodsb; nop
    const auto engine =
        switching({.rules = {{{Kind::Instructions, 3}, "b"}, {{Kind::Instructions, 1}, "a"}}, .repeat = true});
    engine->run({.instructions = 3});
    engine->pull(Groups::All);
    EXPECT_EQ(machine->cpu().general.rip, 6u);
    EXPECT_GT(machine->cpu().general.gpr[RCX], 0u);
    EXPECT_LT(machine->cpu().general.gpr[RCX], 10'000u);
    for (unsigned i = 0; i < 10 && machine->cpu().general.rip == 6; ++i) {
        engine->run({.instructions = 1});
        engine->pull(Groups::All);
    }
    EXPECT_EQ(machine->cpu().general.rip, 8u);
    EXPECT_EQ(machine->cpu().general.gpr[RCX], 0u);
    EXPECT_EQ(machine->cpu().general.gpr[RSI], 0x4000u + 10'000);
    EXPECT_GE(engine->hand_overs(), 2u);
}

// Requests one interrupt for ever.
class Insistent final : public InterruptSource {
public:
    bool pending() const override { return true; }
    u8 acknowledge() override { return 0x20; }
};

TEST_F(TakeOver, TheInstructionBehindStiStillComesBeforeAnInterrupt) {
    load({0xfb, 0x40, 0x40});  // sti; inc ax; inc ax
    constexpr u32 kHandler = 0x1000;
    ASSERT_TRUE(machine->vmem().write_value(u64{0x20} * 4, kHandler));
    Insistent interrupts;
    machine->set_interrupt_source(&interrupts);
    const auto engine = switching({.rules = {{{Kind::Instructions, 1}, "b"}}});
    engine->run({.instructions = 3});
    engine->pull(Groups::All);
    EXPECT_EQ(engine->active(), 1u);
    EXPECT_EQ(machine->cpu().general.gpr[RAX], 1u);
    EXPECT_GE(machine->cpu().general.rip, kHandler);
}

// A local APIC as engines see it, whose TPR may have more than what CR8 shows of it.
class TaskPriority final : public InterruptSource {
public:
    bool pending() const override { return false; }
    u8 acknowledge() override { return 0; }
    std::optional<u8> task_priority_class() const override { return u8{2}; }
    void set_task_priority_class(u8) override { ++set; }
    unsigned set = 0;
};

TEST_F(TakeOver, ATaskPriorityThatStaysIsNotWrittenAnew) {
    load({0x90, 0x90, 0x90});
    TaskPriority apic;
    machine->set_interrupt_source(&apic);
    machine->cpu().control.cr8 = 2;
    const auto engine = switching({.rules = {{{Kind::Instructions, 1}, "b"}, {{Kind::Instructions, 1}, "a"}}});
    const unsigned before = apic.set;
    engine->run({.instructions = 3});
    EXPECT_EQ(engine->hand_overs(), 2u);
    EXPECT_EQ(apic.set, before);
}

TEST_F(TakeOver, ATripleFaultBehindTheLastInstructionIsNotLost) {
    load({0x0f, 0x0b});  // ud2
    machine->cpu().segments.idtr.limit = 0;
    const auto engine = switching({.rules = {{{Kind::Instructions, 1}, "b"}}});
    EXPECT_EQ(engine->run({}).kind, ExitKind::Shutdown);
    EXPECT_EQ(engine->active(), 0u);
}

TEST_F(TakeOver, AnExceptionThatCameAlongLeavesNothingBehindOnceItIsDelivered) {
    load({0x90, 0x90});
    ASSERT_TRUE(machine->vmem().write_value(u64{6} * 4, u32{0x1000}));
    EventGroup& events = machine->cpu().events;
    events.exception_pending = true;
    events.exception_vector = 6;
    const auto engine = switching({.rules = {{{Kind::Instructions, 1}, "b"}}});
    engine->run({.instructions = 2});
    engine->pull(Groups::All);
    EXPECT_GE(machine->cpu().general.rip, 0x1000u);
    EXPECT_EQ(machine->cpu().events, EventGroup{});
}

// In 64-bit mode at ring 0: RIP at 8000h, an IDT at 6000h whose gates all lead to 9000h, a stack below 7000h.
class TakeOverInLongMode : public TakeOver {
protected:
    void SetUp() override {
        VMem& memory = machine->vmem();
        memory.write_value(0x1000, u64{0x2007});
        memory.write_value(0x2000, u64{0x3007});
        memory.write_value(0x3000, u64{0x87});
        memory.write_value(0x4008, u64{0x00af9b000000ffff});
        for (u64 gate = 0; gate < 32; ++gate) memory.write_value(0x6000 + 16 * gate, u64{0x00008e0000089000});
        memory.write_value(0x8000, u16{0xcc90});  // nop; int3
        CpuFile& cpu = machine->cpu();
        cpu.reset();
        constexpr u32 kAll = Segment::P | Segment::S | Segment::G;
        for (Segment& s : cpu.segments.seg) s = {0, 0xffffffff, kAll | Segment::DB | 3, 0x10};
        cpu.segments.seg[CS] = {0, 0xffffffff, kAll | Segment::L | 11, 8};
        cpu.segments.gdtr = {0x4000, 0x17};
        cpu.segments.idtr = {0x6000, 0x1ff};
        cpu.control.cr0 = cr0::PE | cr0::ET | cr0::NE | cr0::PG;
        cpu.control.cr3 = 0x1000;
        cpu.control.cr4 = cr4::PAE;
        cpu.control.efer = efer::LME | efer::LMA;
        cpu.general.rip = 0x8000;
        cpu.general.gpr[RSP] = 0x7000;
    }
    // RFLAGS in the frame of the handler that so many instructions lead to.
    u64 saved_flags(u64 instructions) {
        switching({})->run({.instructions = instructions});
        u64 saved = 0;
        EXPECT_TRUE(machine->vmem().read_value(0x7000 - 24, saved));
        return saved;
    }
    void comes_along(u8 vector) {
        machine->cpu().events.exception_pending = true;
        machine->cpu().events.exception_vector = vector;
    }
};

TEST_F(TakeOverInLongMode, ABreakpointThatCameAlongIsATrap) {
    comes_along(3);
    EXPECT_EQ(saved_flags(1), rflags::Fixed1);
}

TEST_F(TakeOverInLongMode, AnInvalidOpcodeThatCameAlongIsAFault) {
    comes_along(6);
    EXPECT_EQ(saved_flags(1), rflags::Fixed1 | rflags::RF);
}

TEST_F(TakeOverInLongMode, AResumeFlagThatCameAlongLivesForOneInstruction) {
    machine->cpu().general.rflags |= rflags::RF;
    EXPECT_EQ(saved_flags(2), rflags::Fixed1);
}

TEST_F(TakeOver, AHaltedGuestIsStillHalted) {
    load({0xf4});  // hlt
    const auto engine = switching({.rules = {{{Kind::Instructions, 1}, "b"}}});
    EXPECT_EQ(engine->run({}).kind, ExitKind::Halt);
    EXPECT_EQ(engine->run({}).kind, ExitKind::Halt);
    EXPECT_EQ(engine->active(), 1u);
}

}  // namespace
}  // namespace dualvm
