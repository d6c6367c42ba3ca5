// --assist=kernel: programs on the CPU, the rest interpreted. What is done must be what the interpreter alone does.
#include <cstring>
#include <functional>

#include "assist/user_mode.h"
#include "dualvm/interp/interpreter.h"
#include "small_guest.h"

namespace dualvm {
namespace {

constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kPt = 0x4000;
constexpr u64 kForAll = 7, kAccessed = 0x20, kDirty = 0x40;

class Assist : public SmallGuest {
protected:
    // Programs, with a kernel for SYSCALL at kKernel, in a page of 2 MiB; 40000000h, kData in the comments, is a page
    // of its own, at kFrame.
    static constexpr u64 kKernel = 0x9000, kFrame = 0x300000, kOtherFrame = 0x301000;

    void program(const std::vector<u8>& code, const std::vector<u8>& kernel = {}) {
        user_mode(code);
        cpu().control.cr4 |= cr4::OSFXSR | cr4::OSXMMEXCPT;
        cpu().control.efer |= efer::SCE;
        machine->vmem().write_value(kPdpt + 8, 0x5000 | kForAll);
        machine->vmem().write_value(u64{0x5000}, kPt | kForAll);
        machine->vmem().write_value(kPt, kFrame | kForAll);
        if (!kernel.empty()) machine->vmem().write(kKernel, kernel.data(), kernel.size());
        if (second_space_) {
            constexpr u64 kPml4B = 0xb000, kPdptB = 0xc000, kPdB = 0xd000, kPtB = 0xe000;
            machine->vmem().write_value(kPml4B, kPdptB | kForAll);
            machine->vmem().write_value(kPdptB, kPd | kForAll);
            machine->vmem().write_value(kPdptB + 8, kPdB | kForAll);
            machine->vmem().write_value(kPdB, kPtB | kForAll);
            machine->vmem().write_value(kPtB, kOtherFrame | kForAll);
        }
        cpu().msrs.lstar = kKernel;
        cpu().msrs.star = u64{0x23} << 48 | u64{0x08} << 32;
        cpu().msrs.sfmask = rflags::IF;
        handlers();
        machine->vmem().write_value(kFrame, u64{0x11});
        machine->vmem().write_value(kOtherFrame, u64{0x22});
        ports.answer = mmio.answer = 0x11223344;
    }

    // For each vector a gate that ring 3 may use, to MOV AL, vector; HLT at ring 0. Its stack is in memory to be seen.
    void handlers() {
        constexpr u64 kIdt = 0x6000, kGdt = 0x7200, kTss = 0x7400, kStubs = 0x20000, kTop = 0x7f00;
        for (u64 vector = 0; vector < 256; ++vector) {
            const u64 stub = kStubs + 4 * vector;
            machine->vmem().write_value(stub, static_cast<u32>(0xf400b0 | vector << 8));
            machine->vmem().write_value(kIdt + 16 * vector,
                                        (stub & 0xffff) | u64{0x08} << 16 | u64{0xee} << 40 | (stub >> 16) << 48);
        }
        machine->vmem().write_value(kGdt + 8, u64{0x00af9b000000ffff});
        machine->vmem().write_value(kGdt + 0x28, u64{0x00cff3000000ffff});  // data, accessed
        machine->vmem().write_value(kGdt + 0x30, u64{0x00affb000000ffff});  // 64-bit code
        machine->vmem().write_value(kTss + 4, kTop);
        cpu().segments.idtr = {.base = kIdt, .limit = 0xfff};
        cpu().segments.gdtr = {.base = kGdt, .limit = 0x3f};
        cpu().segments.tr = {.base = kTss, .limit = 0x67, .access = Segment::P | 11, .selector = 0x18};
    }

    void start_interpreter() { engine = make_interpreter(*machine, {.host_tsc = true}); }
    void start_assisted(u64 patience = 0) {
        auto kernel = make_interpreter(*machine, {.host_tsc = true});
        auto made = make_assisted_engine(*machine, std::move(kernel), {.patience = patience});
        if (!made && made.error().status == ExitStatus::EngineUnavailable) GTEST_SKIP() << made.error().text;
        ASSERT_TRUE(made) << made.error().text;
        engine = std::move(*made);
    }
    u64 counted(const char* what) { return engine->statistics().named[what]; }

    struct End {
        CpuFile cpu;
        ExitKind kind{};
        std::vector<u8> memory;
    };
    End end() {
        End e;
        // A vCPU of kvm_pvm may sleep through its first entry on a busy host; the next one wakes it.
        constexpr unsigned kTurns = 10;
        e.kind = ExitKind::BudgetUsed;
        for (unsigned i = 0; i < kTurns && e.kind == ExitKind::BudgetUsed; ++i) e.kind = run_on().kind;
        engine->pull(Groups::All);
        e.cpu = cpu();
        e.memory.resize(u64{1} << 20);  // below A0000h is all that programs here write to, and kFrame
        for (u64 at = 0; at < 0xa0000; at += 0x1000) machine->vmem().read(at, e.memory.data() + at, 0x1000);
        machine->vmem().read(kFrame, e.memory.data() + 0xa0000, 0x2000);
        return e;
    }

    virtual void prepare() {}
    bool second_space_ = false;  // another set of tables at b000h

    // Runs a program under the interpreter alone, and with the CPU: both end alike.
    void expect_same(const std::vector<u8>& code, const std::vector<u8>& kernel = {}) {
        program(code, kernel);
        prepare();
        const CpuFile before = cpu();
        start_interpreter();
        const End interpreted = end();
        engine.reset();
        const auto accesses = ports.accesses;
        ports.accesses.clear();
        SetUp();
        program(code, kernel);
        cpu() = before;
        start_assisted();
        if (IsSkipped() || HasFatalFailure()) return;
        const End direct = end();
        EXPECT_EQ(direct.kind, interpreted.kind);
        EXPECT_EQ(differences(direct.cpu, interpreted.cpu, Groups::All), "");
        EXPECT_EQ(ports.accesses, accesses);
        const auto at = std::mismatch(direct.memory.begin(), direct.memory.end(), interpreted.memory.begin());
        EXPECT_EQ(at.first - direct.memory.begin(), static_cast<i64>(direct.memory.size())) << "memory differs there";
        if ((before.general.rflags & (rflags::AC | rflags::TF)) == 0) {
            EXPECT_GT(counted("hand-overs to the CPU"), 0u);
        }
    }
};

// Programs end with an exception, HLT's #GP if no other, whose handler halts.

TEST_F(Assist, RegistersFlagsAndMemoryAreWhatTheInterpreterMakes) {
    expect_same({0x48, 0xb8, 1,    2,    3,    4,    5,    6,    7, 8,  // mov rax, imm
                 0x49, 0x89, 0xc7, 0x49, 0xf7, 0xd7,                    // mov r15, rax; not r15
                 0x48, 0x01, 0xc0, 0xf9, 0x48, 0x11, 0xc3,              // add rax, rax; stc; adc rbx, rax
                 0x48, 0x89, 0x04, 0x25, 0x00, 0xa0, 0x00, 0x00,        // mov [a000h], rax
                 0xfd, 0xf4});                                          // std; hlt
}

TEST_F(Assist, X87AndSseStateMovesBothWays) {
    expect_same({0xd9, 0xe8, 0xd9, 0xeb, 0xde, 0xc1,              // fld1; fldpi; faddp
                 0x0f, 0xae, 0x14, 0x25, 0x00, 0xb0, 0x00, 0x00,  // ldmxcsr [b000h]: 0, all unmasked
                 0xf2, 0x48, 0x0f, 0x2a, 0xc0,                    // cvtsi2sd xmm0, rax
                 0xf4});
}

TEST_F(Assist, AProgramsPortsReachTheDevicesInOrder) {
    expect_same({0x66, 0xba, 0x00, 0x05, 0xb0, 0x11, 0xee,  // mov dx, 500h; mov al, 11h; out dx, al
                 0xed, 0xef, 0xf4});                        // in eax, dx; out dx, eax; hlt
    if (IsSkipped()) return;
    EXPECT_EQ(ports.accesses.size(), 3u);
}

TEST_F(Assist, AProgramsDeviceMemoryReachesTheDevice) {
    expect_same({0xc7, 0x04, 0x25, 0x00, 0x00, 0x0a, 0x00, 0x78, 0x56, 0x34, 0x12,  // mov dword [a0000h], 12345678h
                 0x8b, 0x04, 0x25, 0x04, 0x00, 0x0a, 0x00, 0xf4});                  // mov eax, [a0004h]; hlt
    if (IsSkipped()) return;
    EXPECT_EQ(mmio.accesses.size(), 4u);  // two runs
}

TEST_F(Assist, WhatKvmHasReadFromADeviceAndCannotWorkWithIsInterpreted) {
    program({0x90, 0x48, 0x0f, 0xc7, 0x0c, 0x25, 0, 0, 0x0a, 0, 0xf4});  // nop; cmpxchg16b [a0000h]; hlt
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    EXPECT_EQ(cpu().general.gpr[RAX] & 0xff, 13u);
    EXPECT_NE(cpu().general.gpr[RDX], CpuModel::kSignature);  // loaded from there
}

TEST_F(Assist, SystemCallsGoToTheGuestsKernelAndBack) {
    // The kernel adds one to R8; the program calls it a hundred times.
    expect_same({0x31, 0xc0, 0xbb, 100, 0, 0, 0,        // xor eax, eax; mov ebx, 100
                 0x0f, 0x05,                            // syscall
                 0xff, 0xcb, 0x75, 0xfa, 0xf4},         // dec ebx; jnz; hlt
                {0x49, 0xff, 0xc0, 0x48, 0x0f, 0x07});  // inc r8; sysretq
    if (IsSkipped()) return;
    EXPECT_EQ(cpu().general.gpr[R8], 100u);
    EXPECT_GE(counted("back for a system call"), 100u);
}

// What programs do that needs a kernel, or that they may not do: the same handler with the same frame.
struct Trap {
    const char* name;
    std::vector<u8> code;
    u64 flags = 0, cr0 = 0;
};
class AssistTraps : public Assist, public testing::WithParamInterface<Trap> {
protected:
    void prepare() override {
        cpu().general.rflags = (cpu().general.rflags & ~rflags::IOPL) | GetParam().flags;
        cpu().control.cr0 |= GetParam().cr0;
    }
};
TEST_P(AssistTraps, AreDeliveredAsByTheInterpreter) {
    std::vector<u8> code = GetParam().code;
    code.insert(code.begin(), {0x90, 0x90});  // the first instruction behind a kernel's is always interpreted
    expect_same(code);
}
INSTANTIATE_TEST_SUITE_P(
    All, AssistTraps,
    testing::Values(
        Trap{"Hlt", {0xf4}}, Trap{"Int3", {0x90, 0xcc}}, Trap{"Int3InTwoBytes", {0x90, 0xcd, 3}},
        Trap{"Int4", {0xcd, 4}}, Trap{"Int80h", {0x90, 0xcd, 0x80}}, Trap{"Int1", {0x90, 0xf1, 0x90}},
        Trap{"SingleStepByPopf", {0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d, 0x90, 0x90}, rflags::IF},
        Trap{"PopfTakesSingleStepAway", {0x9c, 0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d, 0x9d, 0x90}, rflags::IF},
        Trap{"SingleStepInFrontOfInt1", {0x9c, 0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d, 0x9d, 0xf1, 0x90}, rflags::IF},
        Trap{"Int1UnderSingleStep", {0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d, 0xf1, 0x90}, rflags::IF},
        Trap{"Ud2", {0x0f, 0x0b}}, Trap{"DivideError", {0x31, 0xc9, 0xf7, 0xf1}},
        Trap{"PageNotPresent", {0x48, 0xb8, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x8b, 0x18}},
        Trap{"PageNotPresentWritten", {0x48, 0xb8, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x89, 0x18}},
        Trap{"JumpWhereNoPageIs", {0x48, 0xb8, 0, 0, 0, 0, 0x10, 0, 0, 0, 0xff, 0xe0}},
        Trap{"NotCanonical", {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8b, 0x18}},
        Trap{"JumpNotCanonical", {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0xe0}},
        Trap{"JumpIntoTheKernelsHalf", {0x48, 0xc7, 0xc0, 0, 0, 0, 0xf0, 0xff, 0xe0}},
        Trap{"PushWhereNoPageIs", {0x48, 0xbc, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x50}},
        Trap{"AlignmentCheck", {0x8b, 0x04, 0x25, 1, 0xa0, 0, 0}, rflags::AC, cr0::AM},
        Trap{"AlignmentUnchecked", {0x8b, 0x04, 0x25, 1, 0xa0, 0, 0, 0xf4}, rflags::AC},
        Trap{"MisalignedSse", {0x0f, 0x28, 0x04, 0x25, 1, 0xa0, 0, 0}},
        Trap{"X87Error", {0xdb, 0xe3, 0xd9, 0x2c, 0x25, 0, 0xa0, 0, 0, 0xd9, 0xee, 0xd9, 0xe8, 0xd8, 0xf1, 0x9b}},
        Trap{"SseError", {0x0f, 0xae, 0x14, 0x25, 0, 0xa0, 0, 0, 0x0f, 0x57, 0xc0, 0x0f, 0x5e, 0xc0}},
        Trap{"PortWithoutPrivilege", {0xe6, 0x80}}, Trap{"PortInWithoutPrivilege", {0x66, 0xba, 0, 5, 0xed}},
        Trap{"ThePortOfTheShim", {0xe6, 0xf5}}, Trap{"Cli", {0xfa}},
        Trap{"CliWithPrivilege", {0xfa, 0xf4}, rflags::IOPL}, Trap{"Rdmsr", {0x31, 0xc9, 0x0f, 0x32}},
        Trap{"MovCr0", {0x0f, 0x20, 0xc0}}, Trap{"MovDr7", {0x0f, 0x21, 0xf8}}, Trap{"Sysenter", {0x0f, 0x34}},
        Trap{"Sysretq", {0x48, 0x0f, 0x07}}, Trap{"Swapgs", {0x0f, 0x01, 0xf8}}, Trap{"Iretq", {0x48, 0xcf}},
        Trap{"LoadGoodDs", {0xb8, 0x2b, 0, 0, 0, 0x8e, 0xd8, 0xf4}},
        Trap{"LoadBadFs", {0xb8, 0x13, 0, 0, 0, 0x8e, 0xe0, 0xf4}},
        Trap{"LoadBeyondTheGdt", {0xb8, 0xf3, 1, 0, 0, 0x8e, 0xe0}},
        Trap{"FarReturnToTheKernel", {0x6a, 0x08, 0x68, 0, 0x90, 0, 0, 0x48, 0xcb}},
        Trap{"FarReturnToItself",
             {0x6a, 0x33, 0x68, 0x10, 0x80, 0, 0, 0x48, 0xcb, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4}},
        Trap{"Xgetbv", {0x31, 0xc9, 0x0f, 0x01, 0xd0}, rflags::TF},
        Trap{"SystemCallWithFlags", {0xfd, 0xf9, 0x0f, 0x05}}),
    [](const auto& trap) { return std::string(trap.param.name); });

class AssistX87ByInterrupt : public Assist {
protected:
    void prepare() override { cpu().control.cr0 &= ~cr0::NE; }
};
TEST_F(AssistX87ByInterrupt, ProgramsRunAndTheirErrorsAreTheGuests) {
    expect_same({0x90, 0x90, 0xdb, 0xe3, 0xd9, 0x2c, 0x25, 0, 0xa0, 0, 0,  // fninit; fldcw [a000h]: 0, all unmasked
                 0xd9, 0xee, 0xd9, 0xe8, 0xd8, 0xf1, 0x9b, 0xf4});         // fldz; fld1; fdiv st, st1; fwait; hlt
}

TEST_F(Assist, AccessedAndDirtyBitsAppearInTheGuestsTables) {
    program({0xc6, 0x04, 0x25, 0, 0, 0, 0x40, 1, 0xf4});  // mov byte [kData], 1; hlt
    start_assisted();
    if (IsSkipped()) return;
    end();
    u64 top = 0, pointers = 0, directory = 0, page = 0;
    machine->vmem().read_value(kPml4, top);
    machine->vmem().read_value(kPdpt + 8, pointers);
    machine->vmem().read_value(u64{0x5000}, directory);
    machine->vmem().read_value(kPt, page);
    EXPECT_EQ(top & kAccessed, kAccessed);
    EXPECT_EQ(pointers & kAccessed, kAccessed);
    EXPECT_EQ(directory & kAccessed, kAccessed);
    EXPECT_EQ(page & (kAccessed | kDirty), kAccessed | kDirty);
}

TEST_F(Assist, AnAccessedBitOfTheTopIsAWriteToTheGuestsTable) {
    program({0xeb, 0xfe});
    start_assisted();
    if (IsSkipped()) return;
    for (unsigned turn = 0; turn < 2; ++turn) {  // the first begins under the interpreter, which sets the bit itself
        machine->vmem().write_value(kPml4, kPdpt | kForAll);
        engine->collect_dirty();
        machine->vmem().clear_dirty();
        u64 top = 0;  // a busy host may leave nothing of a budget: as many as it takes
        for (unsigned runs = 0; runs < 1000 && (top & kAccessed) == 0; ++runs) {
            ASSERT_EQ(engine->run({.host_time = 2'000'000}).kind, ExitKind::BudgetUsed);
            machine->vmem().read_value(kPml4, top);
        }
        EXPECT_EQ(top & kAccessed, kAccessed);
    }
    engine->collect_dirty();
    EXPECT_TRUE(machine->vmem().is_dirty(kPml4));
}

TEST_F(Assist, ATableInRomStaysAsItIs) {
    constexpr u64 kRom = 0x80000000, kTop = kPdpt | kForAll;
    std::vector<u8> rom(kPageSize);
    std::memcpy(rom.data(), &kTop, sizeof kTop);
    ASSERT_TRUE(machine->vmem().add_rom(kRom, rom));
    program({0x90, 0x90, 0xf4});
    cpu().control.cr3 = kRom;
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    u64 top = 0;
    machine->vmem().read_value(kRom, top);
    EXPECT_EQ(top, kTop);
}

TEST_F(Assist, AnEntryThatTheKernelChangesIsSeenByTheProgram) {
    // The program reads kData, has the kernel map another frame there, and reads again.
    program({0x48, 0x8b, 0x1c, 0x25, 0, 0, 0, 0x40,  // mov rbx, [kData]
             0x0f, 0x05,                             // syscall
             0x48, 0x8b, 0x2c, 0x25, 0, 0, 0, 0x40,  // mov rbp, [kData]
             0xf4},
            {0x48, 0xc7, 0x04, 0x25, 0x00, 0x40, 0, 0,    0x07, 0x10, 0x30, 0x00,  // mov qword [kPt], kOtherFrame | 7
             0x0f, 0x01, 0x3c, 0x25, 0,    0,    0, 0x40,                          // invlpg [kData]
             0x48, 0x0f, 0x07});
    start_assisted();
    if (IsSkipped()) return;
    end();
    EXPECT_EQ(cpu().general.gpr[RBX], 0x11u);
    EXPECT_EQ(cpu().general.gpr[RBP], 0x22u);
}

TEST_F(Assist, AProgramMayChangeTablesThatAreAmongItsPages) {
    // mov qword [kPt + 8], kOtherFrame | 7; mov rbx, [kData + 1000h]; hlt
    expect_same({0x48, 0xc7, 0x04, 0x25, 0x08, 0x40, 0,    0,    0x07, 0x10, 0x30, 0x00,  //
                 0x48, 0x8b, 0x1c, 0x25, 0x00, 0x10, 0x00, 0x40, 0xf4});
}

TEST_F(Assist, AKernelThatChangesCr3AtEverySystemCallIsFollowed) {
    // Two address spaces, with different frames at kData; R8 sums up what the program reads there.
    second_space_ = true;
    expect_same({0x45, 0x31, 0xc0, 0xbd, 100, 0, 0, 0,         // xor r8d, r8d; mov ebp, 100
                 0x4c, 0x03, 0x04, 0x25, 0,   0, 0, 0x40,      // add r8, [kData]
                 0x0f, 0x05,                                   // syscall
                 0xff, 0xcd, 0x75, 0xf2, 0xf4},                // dec ebp; jnz; hlt
                {0x0f, 0x20, 0xd8, 0x48, 0x35, 0, 0xa0, 0, 0,  // mov rax, cr3; xor rax, 1000h ^ b000h
                 0x0f, 0x22, 0xd8, 0x48, 0x0f, 0x07});         // mov cr3, rax; sysretq
    if (IsSkipped()) return;
    EXPECT_EQ(cpu().general.gpr[R8], 50 * u64{0x11} + 50 * u64{0x22});
}

TEST_F(Assist, AProgramMayRunInATable) {
    // Entry 100 of the page table is not present; its other bits are INC R8; HLT.
    expect_same({0x48, 0xb8, 0x00, 0x49, 0xff, 0xc0, 0xf4, 0, 0, 0,  // mov rax, f4c0ff4900h
                 0x48, 0x89, 0x04, 0x25, 0x20, 0x43, 0,    0,        // mov [kPt + 800], rax
                 0xb8, 0x21, 0x43, 0,    0,    0xff, 0xe0});         // mov eax, kPt + 801; jmp rax
    if (IsSkipped()) return;
    EXPECT_EQ(cpu().general.gpr[R8], 1u);
}

TEST_F(Assist, CodeThatAProgramWroteIsWhatTheKernelRuns) {
    // The kernel is in a page that the program can write: it puts INC R8, then DEC R8, before the SYSRET and calls.
    const std::vector<u8> code = {0x45, 0x31, 0xc0, 0x0f, 0x05, 0x0f, 0x05,        // xor r8d, r8d; 2 syscalls
                                  0xc6, 0x04, 0x25, 0x02, 0x90, 0,    0,    0xc8,  // mov byte [9002h], c8h
                                  0x0f, 0x05, 0xf4};
    expect_same(code, {0x49, 0xff, 0xc0, 0x48, 0x0f, 0x07});
    if (IsSkipped()) return;
    EXPECT_EQ(cpu().general.gpr[R8], 1u);
}

TEST_F(Assist, CodeThatAProgramWroteAndHidIsWhatTheKernelRuns) {
    // kPt's second entry leads to the kernel's page at a linear address of its own; the program writes the kernel's
    // code there, then takes the entry away.
    const std::vector<u8> code = {0x45, 0x31, 0xc0, 0x0f, 0x05, 0x0f, 0x05,        // xor r8d, r8d; 2 syscalls
                                  0xc6, 0x04, 0x25, 0x02, 0x10, 0,    0x40, 0xc8,  // mov byte [kData + 1002h], c8h
                                  0x48, 0xc7, 0x04, 0x25, 0x08, 0x40, 0,    0,    0, 0, 0, 0,  // mov qword [kPt + 8], 0
                                  0x0f, 0x05, 0xf4};
    program(code);
    const std::vector<u8> kernel = {0x49, 0xff, 0xc0, 0x48, 0x0f, 0x07};
    machine->vmem().write(u64{0x200000}, kernel.data(), kernel.size());
    machine->vmem().write_value(kPd + 8, 0x200000 | 0x81);  // the kernel's alone
    machine->vmem().write_value(kPt + 8, 0x200000 | kForAll);
    cpu().msrs.lstar = 0x200000;
    start_assisted();
    if (IsSkipped()) return;
    end();
    EXPECT_EQ(cpu().general.gpr[R8], 1u);
}

TEST_F(Assist, WhereTheShimIsTheGuestsOwnTablesCount) {
    // mov rax, 7d0000000000h (entry 250); mov rbx, [rax]: no page there
    program({0x48, 0xb8, 0, 0, 0, 0, 0, 0x7d, 0, 0, 0x48, 0x8b, 0x18, 0xf4});
    start_assisted();
    if (IsSkipped()) return;
    end();
    EXPECT_EQ(cpu().control.cr2, u64{250} << 39);
}

TEST_F(Assist, ASystemCallThatWasNoneBringsNoFlagsThatProgramsCannotSet) {
    // mov rcx, behind the syscall; mov r11, -1; mov rax, the shim's stub for SYSCALL; jmp rax; syscall
    program(
        {0x90, 0x90, 0x48, 0xb9, 0x22, 0x80, 0, 0,    0, 0, 0,    0,    0x49, 0xc7, 0xc3, 0xff, 0xff, 0xff, 0xff,  //
         0x48, 0xb8, 0x00, 0x28, 0,    0,    0, 0x7d, 0, 0, 0xff, 0xe0, 0x90, 0x0f, 0x05},
        {0xf4});
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    constexpr u64 kNotForPrograms = ~u64{0x3fffff} | rflags::VIF | rflags::VIP | rflags::VM | rflags::RF | 0x8028;
    EXPECT_EQ(cpu().general.rflags & kNotForPrograms, 0u);
}

TEST_F(Assist, AnInstructionThatKvmDoesNotGetPastIsInterpreted) {
    program({0x90, 0x90, 0x0f, 0x01, 0x04, 0x25, 0, 0, 0x0a, 0, 0xf4});  // nop; nop; sgdt [a0000h]; hlt
    start_assisted();
    if (IsSkipped()) return;
    ExitKind kind = ExitKind::BudgetUsed;
    for (unsigned i = 0; i < 100 && kind == ExitKind::BudgetUsed; ++i)
        kind = engine->run({.host_time = 5'000'000}).kind;
    EXPECT_EQ(kind, ExitKind::Halt);
}

TEST_F(Assist, TheDescriptorTablesThatAProgramSeesAreTheGuests) {
    program({0x0f, 0x01, 0x04, 0x25, 0x00, 0xa0, 0, 0, 0xf4});  // sgdt [a000h]; hlt
    cpu().segments.gdtr = {.base = 0x123456789, .limit = 0x4321};
    start_assisted();
    if (IsSkipped()) return;
    end();
    u64 base = 0;
    u16 limit = 0;
    machine->vmem().read_value(u64{0xa000}, limit);
    machine->vmem().read_value(u64{0xa002}, base);
    EXPECT_EQ(limit, 0x4321);
    EXPECT_EQ(base, 0x123456789u);
}

TEST_F(Assist, AGuestThatUsesAllTopLevelEntriesIsInterpreted) {
    program({0x49, 0xff, 0xc0, 0xf4});
    for (u64 i = 1; i < 512; ++i) machine->vmem().write_value(kPml4 + 8 * i, kPdpt | kForAll);
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    EXPECT_EQ(cpu().general.gpr[R8], 1u);
    EXPECT_GT(counted("interpreted: page tables out of bounds"), 0u);
    EXPECT_EQ(counted("hand-overs to the CPU"), 0u);
}

TEST_F(Assist, TablesThatLeadToThemselvesAreInterpreted) {
    program({0x49, 0xff, 0xc0, 0xf4});
    machine->vmem().write_value(kPml4 + 8 * 100, kPml4 | kForAll);
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    EXPECT_EQ(cpu().general.gpr[R8], 1u);
}

TEST_F(Assist, TheShimsMemoryCannotBeMapped) {
    // kData leads to where the shim's memory is: to the guest there is nothing, and reads find ones.
    const u64 base = ((u64{1} << machine->cpu_model().physical_address_bits()) - kvm::Shim::kSize) & ~u64{0x1fffff};
    program({0x48, 0x8b, 0x1c, 0x25, 0, 0, 0, 0x40, 0xf4});  // mov rbx, [kData]; hlt
    machine->vmem().write_value(kPt, base | kForAll);
    start_assisted();
    if (IsSkipped()) return;
    end();
    EXPECT_EQ(cpu().general.gpr[RBX], ~u64{0});
    EXPECT_EQ(counted("hand-overs to the CPU"), 0u);
}

TEST_F(Assist, SingleSteppingAndBreakpointsAreInterpreted) {
    for (const bool trap : {true, false}) {
        SetUp();
        program({0x49, 0xff, 0xc0, 0x49, 0xff, 0xc0, 0xf4});
        if (trap) cpu().general.rflags |= rflags::TF;
        if (!trap) cpu().debug.dr7 |= 1, cpu().debug.dr[0] = kCode + 3;
        start_assisted();
        if (IsSkipped()) return;
        EXPECT_EQ(end().kind, ExitKind::Halt);
        EXPECT_EQ(cpu().general.gpr[R8], 1u);
        EXPECT_EQ(counted("hand-overs to the CPU"), 0u);
    }
}

TEST_F(Assist, ALoopOfAProgramEndsWithTheBudgetAndWithAKick) {
    program({0x48, 0xff, 0xc0, 0xeb, 0xfb});  // inc rax; jmp
    start_assisted();
    if (IsSkipped()) return;
    // Making the VM counts as well, and a busy host may leave nothing of a budget: as many as it takes.
    const auto run_beyond = [this](u64 count) {
        while (cpu().general.gpr[RAX] <= count) {
            ASSERT_EQ(engine->run({.host_time = 20'000'000}).kind, ExitKind::BudgetUsed);
            engine->pull(Groups::General);
        }
    };
    run_beyond(1'000'000);
    engine->kick();
    EXPECT_EQ(engine->run({}).kind, ExitKind::Kicked);
    engine->pull(Groups::General);
    run_beyond(cpu().general.gpr[RAX]);
}

TEST_F(Assist, AnInterruptReachesTheGuestsHandler) {
    program({0xeb, 0xfe});  // jmp $
    cpu().general.rflags |= rflags::IF;
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(engine->run({.host_time = 5'000'000}).kind, ExitKind::BudgetUsed);
    pic.wanted = 1;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    EXPECT_EQ(cpu().cpl(), 0u);
    EXPECT_EQ(cpu().general.gpr[RAX] & 0xff, 0x20u);
}

TEST_F(Assist, NoTrapIsLostWhereTheDeadlineMeetsIt) {
    // again: inc r9; nop; nop; int3; jmp again. The kernel's handler: inc r8; iretq, at the place of vector 16's.
    program({0x49, 0xff, 0xc1, 0x90, 0x90, 0xcc, 0xeb, 0xf8});
    const std::vector<u8> handler = {0x49, 0xff, 0xc0, 0x48, 0xcf};
    machine->vmem().write(u64{0x20040}, handler.data(), handler.size());
    machine->vmem().write_value(u64{0x6000 + 16 * 3}, u64{0x40} | u64{0x08} << 16 | u64{0xee} << 40 | u64{2} << 48);
    start_assisted();
    if (IsSkipped()) return;
    for (u64 i = 0; i < 3000; ++i) {
        ASSERT_EQ(engine->run({.host_time = 20'000 + i * 7919 % 100'000}).kind, ExitKind::BudgetUsed);
    }
    engine->pull(Groups::General);
    EXPECT_GT(cpu().general.gpr[R8], 100u);
    EXPECT_LE(cpu().general.gpr[R9] - cpu().general.gpr[R8], 1u);
}

TEST_F(Assist, AShortProgramIsNotWorthAHandOver) {
    program({0x49, 0xff, 0xc0, 0xf4});
    start_assisted(1000);
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    EXPECT_EQ(counted("hand-overs to the CPU"), 0u);
}

TEST_F(Assist, APatienceOfOneEndsNoRun) {
    program({0x49, 0xff, 0xc0, 0x49, 0xff, 0xc0, 0xf4});
    start_assisted(1);
    if (IsSkipped()) return;
    EXPECT_EQ(engine->run({.host_time = 1'000'000'000}).kind, ExitKind::Halt);
    EXPECT_GT(counted("hand-overs to the CPU"), 0u);
}

TEST_F(Assist, CpuidOfAProgramThatHasJustBegunIsTheModels) {
    // xor eax, eax; cpuid; mov ecx, 1000000; loop $; hlt
    program({0x31, 0xc0, 0x0f, 0xa2, 0xb9, 0x40, 0x42, 0x0f, 0x00, 0xe2, 0xfe, 0xf4});
    start_assisted(50'000);
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    EXPECT_EQ(cpu().general.gpr[RBX], machine->cpu_model().cpuid(0, 0, cpu()).ebx);
    EXPECT_GT(counted("hand-overs to the CPU"), 0u);
}

// Does something else when the program writes to it.
class Actor final : public Device {
public:
    const char* name() const override { return "actor"; }
    u64 read(u64, unsigned) override { return 0; }
    void write(u64, unsigned, u64) override { act(); }
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}
    std::function<void()> act;
};

class AssistActor : public Assist {
protected:
    static constexpr u64 kActor = 0xb0000;
    void SetUp() override {
        Assist::SetUp();
        ASSERT_TRUE(machine->vio().mmio().add(kActor, 0x1000, actor));
    }
    Actor actor;
};

TEST_F(AssistActor, TablesThatADeviceChangesAreSeenByTheProgramAtOnce) {
    program({0x90, 0x48, 0x8b, 0x1c, 0x25, 0,    0, 0,    0x40,  // nop; mov rbx, [kData]
             0x88, 0x04, 0x25, 0,    0,    0x0b, 0,              // mov [kActor], al
             0x48, 0x8b, 0x2c, 0x25, 0,    0,    0, 0x40,        // mov rbp, [kData]
             0xf4});
    actor.act = [this] { machine->vmem().write_value(kPt, kOtherFrame | kForAll); };
    start_assisted();
    if (IsSkipped()) return;
    end();
    EXPECT_EQ(cpu().general.gpr[RBX], 0x11u);
    EXPECT_EQ(cpu().general.gpr[RBP], 0x22u);
}

TEST_F(AssistActor, AnInterruptOfADeviceThatTheProgramReachedIsTakenAtOnce) {
    program({0x90, 0x88, 0x04, 0x25, 0, 0, 0x0b, 0, 0xeb, 0xfe});  // nop; mov [kActor], al; jmp $
    cpu().general.rflags |= rflags::IF;
    actor.act = [this] { pic.wanted = 1; };
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Halt);
    EXPECT_EQ(cpu().general.gpr[RAX] & 0xff, 0x20u);
}

TEST_F(AssistActor, AnAddressMapThatADeviceChangesIsSeenByTheProgramAtOnce) {
    // nop; mov rbx, [10a000h]; mov [kActor], al; mov rbp, [10a000h]; hlt
    program({0x90, 0x48, 0x8b, 0x1c, 0x25, 0x00, 0xa0, 0x10, 0x00, 0x88, 0x04, 0x25, 0, 0, 0x0b, 0,  //
             0x48, 0x8b, 0x2c, 0x25, 0x00, 0xa0, 0x10, 0x00, 0xf4});
    machine->vmem().write_value(u64{0x10a000}, u64{0x33});
    machine->vmem().write_value(u64{0xa000}, u64{0x44});
    actor.act = [this] { machine->vmem().set_a20(false); };
    start_assisted();
    if (IsSkipped()) return;
    end();
    EXPECT_EQ(cpu().general.gpr[RBX], 0x33u);
    EXPECT_EQ(cpu().general.gpr[RBP], 0x44u);
}

TEST_F(AssistActor, TablesInADevicesMemoryMayGoAwayUnderTheProgram) {
    const auto memory = machine->vmem().add_device_memory(0x1000);
    ASSERT_TRUE(memory);
    constexpr u64 kRoot = 0x80000000;
    ASSERT_TRUE(machine->vmem().place_device_memory(*memory, kRoot));
    program({0x90, 0x88, 0x04, 0x25, 0, 0, 0x0b, 0, 0xf4});  // nop; mov [kActor], al; hlt
    const u64 entry = kPdpt | kForAll;
    std::memcpy(machine->vmem().device_memory(*memory).data(), &entry, sizeof entry);
    cpu().control.cr3 = kRoot;
    actor.act = [&] { machine->vmem().place_device_memory(*memory, std::nullopt); };
    start_assisted();
    if (IsSkipped()) return;
    EXPECT_EQ(end().kind, ExitKind::Shutdown);  // no table, no handler
}

}  // namespace
}  // namespace dualvm
