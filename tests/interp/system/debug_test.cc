// Debug exceptions as the whole engine takes them: which come before an instruction, which behind it, and when.
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"

namespace dualvm {
namespace {

// 32-bit protected mode without paging, flat; each exception's handler is a HLT of its own.
class Debugging : public ::testing::Test {
protected:
    static constexpr u64 kCode = 0x5000, kData = 0x6000, kStack = 0x8000, kGdt = 0x1000, kIdt = 0x2000,
                         kHandlers = 0x7000;
    static constexpr u64 kWrite = 1, kAccess = 3, kFourBytes = 3;
    static constexpr u64 kNmi = 2;

    void SetUp() override {
        engine_.reset();
        machine_ = std::move(*Machine::create({.memory_mebibytes = 1}));
        CpuFile& cpu = machine_->cpu();
        cpu.reset();
        put(kGdt + 8, u64{0x00cf9b000000ffff});
        put(kGdt + 16, u64{0x00cf93000000ffff});
        for (u64 vector = 0; vector < 32; ++vector) {
            put(kIdt + 8 * vector, (kHandlers + vector) | u64{8} << 16 | u64{0x8e} << 40);
            put(kHandlers + vector, u8{0xf4});
        }
        cpu.control.cr0 = cr0::PE | cr0::ET;
        cpu.segments.gdtr = {.base = kGdt, .limit = 23};
        cpu.segments.idtr = {.base = kIdt, .limit = 255};
        constexpr u32 kFlat = Segment::P | Segment::S | Segment::G | Segment::DB;
        for (Segment& segment : cpu.segments.seg) segment = {.limit = 0xffffffff, .access = kFlat | 3, .selector = 16};
        cpu.segments.seg[CS] = {.limit = 0xffffffff, .access = kFlat | 11, .selector = 8};
        cpu.general.rip = kCode;
        cpu.general.gpr[RSP] = kStack;
        cpu.general.rflags = rflags::Fixed1;
        engine_ = make_interpreter(*machine_, {});
    }
    template <class T>
    void put(u64 address, T value) {
        ASSERT_TRUE(machine_->vmem().write_value(address, value));
    }
    CpuFile& cpu() { return machine_->cpu(); }
    // Breakpoint 0, on data.
    void watch(u64 address, u64 condition) {
        cpu().debug.dr[0] = address;
        cpu().debug.dr7 = 0x401 | condition << 16 | kFourBytes << 18;
    }
    // Breakpoint 1, on execution.
    void break_at(u64 address) {
        cpu().debug.dr[1] = address;
        cpu().debug.dr7 |= 0x404;
    }
    // Runs to the first HLT; gives the vector whose handler that is, or -1, and where the exception came from.
    int run(const std::vector<u8>& code) {
        EXPECT_TRUE(machine_->vmem().write(kCode, code.data(), code.size()));
        engine_->push(Groups::All);
        (void)engine_->run({.instructions = 1000});
        engine_->pull(Groups::All);
        const u64 rip = cpu().general.rip - 1;
        if (rip < kHandlers || rip >= kHandlers + 32) return -1;
        u32 saved = 0;
        EXPECT_TRUE(machine_->vmem().read_value(cpu().general.gpr[RSP], saved));
        saved_ = saved;
        EXPECT_TRUE(machine_->vmem().read_value(cpu().general.gpr[RSP] + 8, saved_flags_));
        return static_cast<int>(rip - kHandlers);
    }

    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Engine> engine_;
    u64 saved_ = 0;  // the instruction pointer that the exception saved
    u32 saved_flags_ = 0;
};

TEST_F(Debugging, DataBreakpointTrapsBehindTheInstruction) {
    watch(kData, kWrite);
    EXPECT_EQ(run({0xa3, 0x00, 0x60, 0, 0, 0x90, 0xf4}), 1);  // mov [kData], eax
    EXPECT_EQ(saved_, kCode + 5);
    EXPECT_EQ(cpu().debug.dr6 & 0xf, 1u);
}
TEST_F(Debugging, DataBreakpointOfMovSsWaitsForOneMoreInstruction) {
    put(kData, u16{16});
    watch(kData, kAccess);
    EXPECT_EQ(run({0x8e, 0x15, 0x00, 0x60, 0, 0, 0x90, 0x90, 0xf4}), 1);  // mov ss, [kData]
    EXPECT_EQ(saved_, kCode + 7);
    EXPECT_EQ(cpu().debug.dr6 & 0xf, 1u);
}
TEST_F(Debugging, DataBreakpointOfMovSsIsHeldThoughEventsArePushedMeanwhile) {
    put(kData, u16{16});
    watch(kData, kAccess);
    const std::vector<u8> code = {0x8e, 0x15, 0x00, 0x60, 0, 0, 0x90, 0x90, 0xf4};
    EXPECT_TRUE(machine_->vmem().write(kCode, code.data(), code.size()));
    engine_->push(Groups::All);
    (void)engine_->run({.instructions = 1});
    engine_->pull(Groups::Events);
    engine_->push(Groups::Events);  // as whoever has an NMI for the guest does
    (void)engine_->run({.instructions = 1000});
    engine_->pull(Groups::All);
    EXPECT_EQ(cpu().general.rip, kHandlers + 2);  // behind the HLT of vector 1
}
TEST_F(Debugging, DataBreakpointOfMovSsMeetsTheHandlerThatTheNextInstructionEnters) {
    put(kData, u16{16});
    watch(kData, kAccess);
    EXPECT_EQ(run({0x8e, 0x15, 0x00, 0x60, 0, 0, 0xcc, 0xf4}), 1);  // int3
    EXPECT_EQ(saved_, kHandlers + 3);
}
TEST_F(Debugging, DataBreakpointOfMovSsMeetsTheHandlerOfTheNextInstructionsFault) {
    put(kData, u16{16});
    watch(kData, kAccess);
    EXPECT_EQ(run({0x8e, 0x15, 0x00, 0x60, 0, 0, 0x0f, 0x0b, 0xf4}), 1);  // ud2
    EXPECT_EQ(saved_, kHandlers + 6);
}
TEST_F(Debugging, InstructionBreakpointBehindMovSsDoesNotCount) {
    break_at(kCode + 2);
    cpu().general.gpr[RAX] = 16;
    EXPECT_EQ(run({0x8e, 0xd0, 0x90, 0xf4}), -1);  // mov ss, eax
    SetUp();
    break_at(kCode + 3);
    cpu().general.gpr[RAX] = 16;
    EXPECT_EQ(run({0x8e, 0xd0, 0x90, 0xf4}), 1);
    EXPECT_EQ(saved_, kCode + 3);
}
TEST_F(Debugging, AnInstructionBreakpointBehindTheEndOfTheLinearAddresses) {
    cpu().segments.seg[CS].base = 0xfffff000;
    cpu().general.rip = kCode + 0x1000;
    break_at(kCode + 1);
    EXPECT_EQ(run({0x90, 0x90, 0xf4}), 1);  // nop; nop; hlt
}

TEST_F(Debugging, SingleStepOfMovSsIsLost) {
    cpu().general.gpr[RAX] = 16;
    cpu().general.rflags |= rflags::TF;
    EXPECT_EQ(run({0x8e, 0xd0, 0x90, 0x90, 0xf4}), 1);
    EXPECT_EQ(saved_, kCode + 3);
    EXPECT_NE(cpu().debug.dr6 & 0x4000, 0u);
}
TEST_F(Debugging, InstructionBreakpointIsAFaultThatTheResumeFlagHoldsBack) {
    break_at(kCode);
    EXPECT_EQ(run({0x90, 0xf4}), 1);
    EXPECT_EQ(saved_, kCode);
    SetUp();
    break_at(kCode);
    cpu().general.rflags |= rflags::RF;
    EXPECT_EQ(run({0x90, 0xf4}), -1);
}
TEST_F(Debugging, RepeatedStoreTrapsBehindTheElementThatHit) {
    watch(kData + 8, kWrite);
    cpu().general.gpr[RDI] = kData;
    cpu().general.gpr[RCX] = 8;
    EXPECT_EQ(run({0xf3, 0xab, 0xf4}), 1);  // rep stosd
    EXPECT_EQ(saved_, kCode);               // it goes on with what is left
    EXPECT_EQ(cpu().general.gpr[RCX], 5u);
    EXPECT_NE(saved_flags_ & rflags::RF, 0u);
}
TEST_F(Debugging, TrapBehindTheLastElementOfARepeatedStoreSavesNoResumeFlag) {
    watch(kData + 8, kWrite);
    cpu().general.gpr[RDI] = kData;
    cpu().general.gpr[RCX] = 3;
    EXPECT_EQ(run({0xf3, 0xab, 0xf4}), 1);  // rep stosd
    EXPECT_EQ(saved_, kCode + 2);
    EXPECT_EQ(saved_flags_ & rflags::RF, 0u);
}
TEST_F(Debugging, InterruptBetweenIterationsOfAStringInstructionSavesTheResumeFlag) {
    for (const char* without : {"", "strings", "fast"}) {
        SetUp();
        engine_ = make_interpreter(*machine_, {.without = {without}});
        cpu().general.gpr[RDI] = 0x10000;
        cpu().general.gpr[RCX] = 0x18000;                    // more than is stored at once
        const std::vector<u8> code{0x40, 0xf3, 0xaa, 0xf4};  // inc eax; rep stosb
        EXPECT_TRUE(machine_->vmem().write(kCode, code.data(), code.size()));
        engine_->push(Groups::All);
        (void)engine_->run({.instructions = 2});
        engine_->pull(Groups::All);
        EXPECT_EQ(cpu().general.rip, kCode + 1) << without;
        const u64 left = cpu().general.gpr[RCX];
        EXPECT_NE(left, 0u);
        cpu().events.nmi_pending = true;
        engine_->push(Groups::All);
        (void)engine_->run({.instructions = 1});
        engine_->pull(Groups::All);
        EXPECT_EQ(cpu().general.rip, kHandlers + kNmi + 1) << without;
        u32 flags = 0;
        EXPECT_TRUE(machine_->vmem().read_value(cpu().general.gpr[RSP] + 8, flags));
        EXPECT_NE(flags & rflags::RF, 0u) << without;
        EXPECT_EQ(cpu().general.gpr[RCX], left);
    }
}
TEST_F(Debugging, StringInstructionThatHasEndedLeavesNoResumeFlag) {
    for (const char* without : {"", "strings", "fast"}) {
        SetUp();
        engine_ = make_interpreter(*machine_, {.without = {without}});
        cpu().general.gpr[RDI] = 0x10000;
        cpu().general.gpr[RCX] = 0x18000;
        const std::vector<u8> code{0xf3, 0xaa, 0x9c, 0xf4};  // rep stosb; pushfd
        EXPECT_TRUE(machine_->vmem().write(kCode, code.data(), code.size()));
        engine_->push(Groups::All);
        (void)engine_->run({.instructions = 1000});
        engine_->pull(Groups::All);
        EXPECT_EQ(cpu().general.rip, kCode + 4) << without;
        EXPECT_EQ(cpu().general.rflags & rflags::RF, 0u) << without;
    }
}
TEST_F(Debugging, SysenterIsSingleSteppedAsItLeavesTheTrapFlagSet) {
    cpu().msrs.sysenter_cs = 8;
    cpu().msrs.sysenter_eip = kData;
    cpu().msrs.sysenter_esp = kStack;
    cpu().general.rflags |= rflags::TF;
    EXPECT_EQ(run({0x0f, 0x34}), 1);
    EXPECT_EQ(saved_, kData);
    EXPECT_NE(cpu().debug.dr6 & 0x4000, 0u);
}
// RF is cleared as a software interrupt begins (SDM vol. 3B, 17.3.1.1): its handler must not carry it on.
TEST_F(Debugging, SoftwareInterruptSavesNoResumeFlag) {
    for (const std::vector<u8>& code : {std::vector<u8>{0xcd, 0x05, 0xf4}, {0xcc, 0xf4}}) {
        SetUp();
        break_at(kCode);
        cpu().general.rflags |= rflags::RF;
        EXPECT_EQ(run(code), code[0] == 0xcd ? 5 : 3);
        EXPECT_EQ(saved_flags_ & rflags::RF, 0u);
    }
}
// IRET gives back the RF that it finds in its frame, also if it had to be resumed itself.
TEST_F(Debugging, IretReturnsTheResumeFlag) {
    for (const bool resumed : {false, true}) {
        SetUp();
        put(kStack, u32{kCode + 1});
        put(kStack + 4, u32{8});
        put(kStack + 8, u32{rflags::RF | rflags::Fixed1});
        break_at(kCode + 1);
        if (resumed) cpu().general.rflags |= rflags::RF;
        EXPECT_EQ(run({0xcf, 0x90, 0xf4}), -1) << resumed;
    }
}
// What comes right behind an IRET saves the RF that IRET has loaded, however it was executed.
TEST_F(Debugging, InterruptBehindIretSavesTheResumeFlagThatItLoaded) {
    for (const u64 budget : {1, 1000}) {
        SetUp();
        put(kStack, u32{kCode + 3});
        put(kStack + 4, u32{8});
        put(kStack + 8, u32{rflags::RF | rflags::Fixed1});
        const std::vector<u8> code = {0x90, 0x90, 0xcf, 0x90, 0xf4};
        ASSERT_TRUE(machine_->vmem().write(kCode, code.data(), code.size()));
        engine_->push(Groups::All);
        for (unsigned done = 0; done < 3; done += static_cast<unsigned>(std::min<u64>(budget, 3)))
            (void)engine_->run({.instructions = std::min<u64>(budget, 3)});
        engine_->pull(Groups::All);
        EXPECT_EQ(cpu().general.rip, kCode + 3);
        EXPECT_NE(cpu().general.rflags & rflags::RF, 0u) << budget;
    }
}
TEST_F(Debugging, GeneralDetectionFaultsBeforeTheMove) {
    cpu().debug.dr7 |= 0x2000;
    EXPECT_EQ(run({0x0f, 0x23, 0xc0, 0xf4}), 1);  // mov dr0, eax
    EXPECT_EQ(saved_, kCode);
    EXPECT_NE(cpu().debug.dr6 & 0x2000, 0u);
    EXPECT_EQ(cpu().debug.dr7 & 0x2000, 0u);
    EXPECT_NE(saved_flags_ & rflags::RF, 0u);
}

// The same in 64-bit mode.
class Debugging64 : public Debugging {
protected:
    static constexpr u64 kTables = 0xa000, kEntry = 0x5800;
    void SetUp() override {
        Debugging::SetUp();
        put(kGdt + 8, u64{0x00af9b000000ffff});
        for (u64 vector = 0; vector < 32; ++vector) {
            put(kIdt + 16 * vector, (kHandlers + vector) | u64{8} << 16 | u64{0x8e} << 40);
            put(kIdt + 16 * vector + 8, u64{0});
        }
        put(kTables, u64{kTables + 0x1000} | 3);
        put(kTables + 0x1000, u64{kTables + 0x2000} | 3);
        put(kTables + 0x2000, u64{0x83});
        CpuFile& cpu = machine_->cpu();
        cpu.segments.idtr.limit = 511;
        cpu.segments.seg[CS].access ^= Segment::L | Segment::DB;
        cpu.control.cr0 |= cr0::PG;
        cpu.control.cr3 = kTables;
        cpu.control.cr4 = cr4::PAE;
        cpu.control.efer = efer::LME | efer::LMA | efer::SCE;
        cpu.msrs.star = u64{8} << 32;
        cpu.msrs.lstar = kEntry;
    }
};

// One #DB for all of its causes.
TEST_F(Debugging64, DataBreakpointOfMovSsAndTheTrapOfSyscallAreOne) {
    put(kData, u16{16});
    watch(kData, kAccess);
    cpu().general.gpr[RBX] = kData;
    cpu().general.rflags |= rflags::TF;
    EXPECT_EQ(run({0x8e, 0x13, 0x0f, 0x05, 0xf4}), 1);  // mov ss, [rbx]; syscall
    EXPECT_EQ(saved_, kEntry);
    EXPECT_EQ(cpu().debug.dr6 & 0x400f, 0x4001u);
}

// Not debug exceptions, but what else only the whole engine shows: a branch out of reach faults itself.
TEST_F(Debugging, BranchBeyondTheLimitFaultsWhereItIs) {
    cpu().segments.seg[CS].limit = kHandlers + 0xfff;
    EXPECT_EQ(run({0x31, 0xc0, 0x0f, 0x84, 0xf8, 0x3f, 0, 0, 0xf4}), 13);  // xor eax, eax; je 9000h
    // On top is the error code.
    EXPECT_EQ(saved_, 0u);
    u32 from = 0;
    ASSERT_TRUE(machine_->vmem().read_value(cpu().general.gpr[RSP] + 4, from));
    EXPECT_EQ(from, kCode + 2);
}
TEST_F(Debugging64, CallToAnAddressThatIsNotCanonicalFaultsWhereItIs) {
    constexpr u64 kHighest = 0x7fff'ffe0'0000;
    put(kTables + 8 * 255, u64{kTables + 0x1000} | 3);
    put(kTables + 0x1000 + 8 * 511, u64{kTables + 0x2000} | 3);
    put(kTables + 0x2000 + 8 * 511, u64{0x83});
    cpu().general.rip = kHighest + kCode;
    // push rax, twice, so that the stack's page is known; pop rax, twice; call 800000000100h
    EXPECT_EQ(run({0x50, 0x50, 0x58, 0x58, 0xe8, 0xf7, 0xb0, 0x1f, 0x00, 0xf4}), 13);
    u64 from = 0, stack = 0;
    ASSERT_TRUE(machine_->vmem().read_value(cpu().general.gpr[RSP] + 8, from));
    ASSERT_TRUE(machine_->vmem().read_value(cpu().general.gpr[RSP] + 32, stack));
    EXPECT_EQ(from, kHighest + kCode + 4);
    EXPECT_EQ(stack, kStack);
}

}  // namespace
}  // namespace dualvm
