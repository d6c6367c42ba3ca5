// Small guests on the real KVM: exits, halts, interrupts, budgets.
#include "dualvm/run_loop.h"
#include "small_guest.h"

namespace dualvm {
namespace {

class Run : public SmallGuest {};

u64 count(const Engine& engine, ExitKind kind) { return engine.statistics().exits[static_cast<std::size_t>(kind)]; }

TEST_F(Run, StartsAtTheResetVector) {
    const std::vector<u8> rom(0x10000, 0xf4);  // HLT everywhere
    ASSERT_TRUE(machine->vmem().add_rom(0xffff0000, rom));
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::All);
    EXPECT_EQ(cpu().segments.seg[CS].base, 0xffff0000u);
    EXPECT_EQ(cpu().general.rip, 0xfff1u);
    EXPECT_EQ(cpu().control.cr0, cr0::CD | cr0::NW | cr0::ET);
}

TEST_F(Run, PortWritesOfEverySizeReachTheDevice) {
    real_mode({0xee, 0xef, 0x66, 0xef, 0xf4});  // out dx, al;  out dx, ax;  out dx, eax;  hlt
    cpu().general.gpr[RAX] = 0x12345678;
    cpu().general.gpr[RDX] = kPort;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    const std::vector<Recorder::Access> expected = {{true, 0, 1, 0x78}, {true, 0, 2, 0x5678}, {true, 0, 4, 0x12345678}};
    EXPECT_EQ(ports.accesses, expected);
    EXPECT_EQ(count(*engine, ExitKind::PortWrite), 3u);
    EXPECT_EQ(count(*engine, ExitKind::Halt), 1u);
}

// CPUID does not speak of KVM's own MSRs: to a guest there are none.
TEST_F(Run, ParavirtualMsrsAreNotThere) {
    real_mode({0x0f, 0x30, 0xf4});                     // wrmsr;  hlt
    machine->vmem().write_value<u32>(13 * 4, 0x5000);  // the vector of #GP: 0000:5000
    machine->vmem().write_value<u16>(0x5000, 0xf490);  // nop;  hlt
    cpu().general.gpr[RCX] = 0x4b564d01;
    cpu().general.gpr[RAX] = 0x8001;
    cpu().general.gpr[RDX] = 0;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::All);
    EXPECT_EQ(cpu().general.rip, 0x5002u);
}

TEST_F(Run, PortReadReachesTheRegister) {
    real_mode({0xec, 0xf4});  // in al, dx;  hlt
    cpu().general.gpr[RDX] = kPort;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.gpr[RAX], 0x44u);
}

TEST_F(Run, RepOutsbWritesEveryByteInOrder) {
    real_mode({0xf3, 0x6e, 0xf4});  // rep outsb;  hlt
    for (u8 i = 0; i < 100; ++i) machine->vmem().write_value<u8>(0x4000 + i, i);
    cpu().general.gpr[RSI] = 0x4000;
    cpu().general.gpr[RCX] = 100;
    cpu().general.gpr[RDX] = kPort;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    ASSERT_EQ(ports.accesses.size(), 100u);
    for (u8 i = 0; i < 100; ++i) EXPECT_EQ(ports.accesses[i].value, i);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.gpr[RCX], 0u);
    EXPECT_EQ(cpu().general.gpr[RSI], 0x4000u + 100);
}

TEST_F(Run, RepInsdFillsMemory) {
    real_mode({0xf3, 0x66, 0x6d, 0xf4});  // rep insd;  hlt
    cpu().general.gpr[RDI] = 0x4000;
    cpu().general.gpr[RCX] = 8;
    cpu().general.gpr[RDX] = kPort;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    for (u32 i = 0; i < 8; ++i) {
        u32 value = 0;
        machine->vmem().read_value(0x4000 + 4 * i, value);
        EXPECT_EQ(value, 0x11223344u + i);
    }
}

TEST_F(Run, MmioReadsAndWritesReachTheDevice) {
    // mov ax, [0];  mov [2], ax;  hlt -- with DS at the device
    real_mode({0xa1, 0x00, 0x00, 0xa3, 0x02, 0x00, 0xf4});
    cpu().segments.seg[DS].base = kMmio;
    cpu().segments.seg[DS].selector = kMmio >> 4;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    const std::vector<Recorder::Access> expected = {{false, 0, 2, 0x11223344}, {true, 2, 2, 0x3344}};
    EXPECT_EQ(mmio.accesses, expected);
}

TEST_F(Run, TripleFaultIsAShutdown) {
    user_mode({0x0f, 0x0b});  // ud2
    cpu().segments.idtr = {};
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Shutdown);
}

TEST_F(Run, HaltStaysUntilAnInterruptAndItsHandlerRunsFirst) {
    // sti;  hlt;  cli;  hlt -- if CLI ran before the interrupt, there would be none
    real_mode({0xfb, 0xf4, 0xfa, 0xf4});
    const u8 handler[] = {0xfe, 0x06, 0x00, 0x40, 0xcf};  // inc byte [4000h];  iret
    machine->vmem().write(0x9000, handler, sizeof handler);
    machine->vmem().write_value<u32>(0x20 * 4, 0x9000);
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    EXPECT_EQ(run_on().kind, ExitKind::Halt);  // still: nothing woke it
    engine->pull(Groups::All);
    EXPECT_TRUE(cpu().events.halted);
    EXPECT_EQ(cpu().general.rip, kCode + 2);
    pic.wanted = 1;
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.rip, kCode + 4);
    u8 taken = 0;
    machine->vmem().read_value(0x4000, taken);
    EXPECT_EQ(taken, 1);
    EXPECT_EQ(engine->statistics().interrupts_injected, 1u);
}

TEST_F(Run, AnInterruptWaitsForTheFlagAndTheWindow) {
    // nop;  sti;  nop;  hlt;  hlt
    real_mode({0x90, 0xfb, 0x90, 0xf4, 0xf4});
    const u8 handler[] = {0x58, 0x50, 0xee, 0xcf};  // pop ax;  push ax (the return address);  out dx, al;  iret
    machine->vmem().write(0x9000, handler, sizeof handler);
    machine->vmem().write_value<u32>(0x20 * 4, 0x9000);
    cpu().general.gpr[RDX] = kPort;
    pic.wanted = 1;
    START_ENGINE();
    // An emulating KVM sees the window only at the HLT, which the interrupt then ends.
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    if (ports.accesses.empty()) run_on();
    ASSERT_EQ(ports.accesses.size(), 1u);
    EXPECT_GE(ports.accesses[0].value, 3u);  // the low byte of kCode + 3, behind the instruction that STI shadows
}

TEST_F(Run, SeveralInterruptsAreAllTaken) {
    real_mode({0xfb, 0x90, 0xeb, 0xfd});                  // sti;  again: nop;  jmp again
    const u8 handler[] = {0xff, 0x06, 0x00, 0x40, 0xcf};  // inc word [4000h];  iret
    machine->vmem().write(0x9000, handler, sizeof handler);
    machine->vmem().write_value<u32>(0x20 * 4, 0x9000);
    pic.wanted = 50;
    START_ENGINE();
    u16 taken = 0;
    for (unsigned turn = 0; turn < 1000 && taken < 50; ++turn) {
        engine->run({.host_time = 1'000'000});
        machine->vmem().read_value(0x4000, taken);
    }
    EXPECT_EQ(taken, 50);
    EXPECT_EQ(engine->statistics().interrupts_injected, 50u);
}

TEST_F(Run, AnNmiThatIsPendingIsDelivered) {
    real_mode({0x90, 0x90, 0xf4});
    const u8 handler[] = {0xc6, 0x06, 0x00, 0x40, 0x77, 0xcf};  // mov byte [4000h], 77h;  iret
    machine->vmem().write(0x9000, handler, sizeof handler);
    machine->vmem().write_value<u32>(2 * 4, 0x9000);
    cpu().events.nmi_pending = true;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    u8 taken = 0;
    machine->vmem().read_value(0x4000, taken);
    EXPECT_EQ(taken, 0x77);
    engine->pull(Groups::Events);
    EXPECT_FALSE(cpu().events.nmi_pending);
    EXPECT_FALSE(cpu().events.nmi_masked);
}

TEST_F(Run, APendingExceptionIsDelivered) {
    real_mode({0x90, 0xf4});
    machine->vmem().write_value<u32>(6 * 4, 0x9000);
    machine->vmem().write_value<u8>(0x9000, 0xf4);
    cpu().events.exception_pending = true;
    cpu().events.exception_vector = 6;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.rip, 0x9001u);
}

TEST_F(Run, HostTimeEndsALoopThatNeverEnds) {
    for (bool user : {false, true}) {
        if (user) {
            user_mode({0xeb, 0xfe});
        } else {
            real_mode({0xeb, 0xfe});
        }
        START_ENGINE();
        const auto start = HostClock();
        EXPECT_EQ(engine->run({.host_time = 3'000'000}).kind, ExitKind::BudgetUsed);
        EXPECT_GE(start.now(), 3'000'000u);
    }
}

TEST_F(Run, ADeadlineHoldsAfterAnEarlierOneAndAfterALaterOne) {
    user_mode({0xeb, 0xfe});
    START_ENGINE();
    for (Nanoseconds budget : {5'000'000, 1'000'000, 8'000'000, 1, 2'000'000}) {
        const auto start = HostClock();
        EXPECT_EQ(engine->run({.host_time = budget}).kind, ExitKind::BudgetUsed);
        EXPECT_GE(start.now(), budget);
    }
}

TEST_F(Run, TwoEnginesOnOneThreadKeepTheirOwnDeadlines) {
    user_mode({0xeb, 0xfe});
    START_ENGINE();
    auto first = std::move(engine);
    START_ENGINE();
    for (unsigned turn = 0; turn < 5; ++turn) {
        EXPECT_EQ(first->run({.host_time = 1'000'000}).kind, ExitKind::BudgetUsed);
        const auto start = HostClock();
        EXPECT_EQ(engine->run({.host_time = 3'000'000}).kind, ExitKind::BudgetUsed);
        EXPECT_GE(start.now(), 3'000'000u);
    }
}

TEST_F(Run, AnInstructionBudgetIsKeptOrRefused) {
    user_mode({0x90, 0x90, 0xeb, 0xfe});
    START_ENGINE();
    EXPECT_EQ(engine->run({.instructions = 0}).kind, ExitKind::BudgetUsed);
    const Exit some = engine->run({.instructions = 1000, .host_time = 1'000'000});
    EXPECT_EQ(some.kind, ExitKind::Failure);
    const Exit one = engine->run({.instructions = 1, .host_time = 1'000'000'000});
    engine->pull(Groups::General);
    if (engine->tried_capabilities().single_step) {
        EXPECT_EQ(one.kind, ExitKind::SingleStep);
        EXPECT_EQ(cpu().general.rip, kCode + 1);
    } else {
        EXPECT_EQ(one.kind, ExitKind::Failure);
        EXPECT_EQ(cpu().general.rip, kCode);
    }
}

TEST_F(Run, AttentionComesFirst) {
    real_mode({0xf4});
    START_ENGINE();
    machine->set_attention();
    EXPECT_EQ(engine->run({}).kind, ExitKind::Attention);
}

TEST_F(Run, TheRunLoopEndsAHaltedGuest) {
    real_mode({0xfa, 0xf4});  // cli;  hlt
    START_ENGINE();
    const RunResult result = run_loop(*machine, *engine, {.timeout = 5'000'000'000}, {});
    EXPECT_EQ(result.reason, "halted");
    EXPECT_EQ(result.status, 0);
    EXPECT_FALSE(result.instructions);
}

}  // namespace
}  // namespace dualvm
