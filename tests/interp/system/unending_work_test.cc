// What a guest can make last for long, or for ever, does not keep the engine from whoever drives it: budgets, kicks and
// deadlines are heard in between.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "dualvm/interp/interpreter.h"

namespace dualvm {
namespace {

// 32-bit protected mode without paging, flat. Exceptions go to handlers that jump to themselves, in ring 0.
class UnendingWork : public ::testing::Test {
protected:
    static constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kCode = 0x5000, kHandlers = 0x7000,
                         kStack = 0x9000, kRom = 0xf0000;
    static constexpr u8 kAc = 17, kTs = 10;
    static constexpr u64 kInterruptGate = 0x8e, kTaskGate = 0x85;
    enum Selector : u16 { kCode0 = 8, kData0 = 16, kCode3 = 0x18 | 3, kData3 = 0x20 | 3, kTask = 0x28 };
    static constexpr u64 kFlatCode = 0x00cf9b000000ffff, kFlatData = 0x00cf93000000ffff, kRing3 = u64{0x60} << 40;

    void SetUp() override {
        machine_ = std::move(*Machine::create({.memory_mebibytes = 8}));
        cpu().reset();
        put(kGdt + kCode0, kFlatCode);
        put(kGdt + kData0, kFlatData);
        put(kGdt + (kCode3 & ~3), kFlatCode | kRing3);
        put(kGdt + (kData3 & ~3), kFlatData | kRing3);
        for (u8 vector = 0; vector < 32; ++vector) {
            set_gate(vector, kInterruptGate, kCode0);
            put(kHandlers + 2 * vector, u16{0xfeeb});  // jmp to itself
        }
        cpu().control.cr0 = cr0::PE | cr0::ET;
        cpu().segments.gdtr = {.base = kGdt, .limit = 0x2f};
        cpu().segments.idtr = {.base = kIdt, .limit = 255};
        set_level(0);
        cpu().general.rip = kCode;
        cpu().general.rflags = rflags::Fixed1;
        cpu().general.gpr[RSP] = kStack;
    }
    template <class T>
    void put(u64 address, T value) {
        ASSERT_TRUE(machine_->vmem().write_value(address, value));
    }
    void set_gate(u8 vector, u64 rights, u16 selector) {
        put(kIdt + 8 * vector, (kHandlers + 2 * vector) | u64{selector} << 16 | rights << 40);
    }
    void set_level(u32 level) {
        constexpr u32 kFlat = Segment::P | Segment::S | Segment::G | Segment::DB;
        const u32 dpl = level << Segment::DplShift;
        for (Segment& segment : cpu().segments.seg) {
            segment = {.limit = 0xffffffff, .access = kFlat | 3 | dpl, .selector = level == 0 ? kData0 : kData3};
        }
        cpu().segments.seg[CS] = {
            .limit = 0xffffffff, .access = kFlat | 11 | dpl, .selector = level == 0 ? kCode0 : kCode3};
    }
    void set_code(const std::vector<u8>& code) { ASSERT_TRUE(machine_->vmem().write(kCode, code.data(), code.size())); }
    CpuFile& cpu() { return machine_->cpu(); }
    Exit run(const Budget& budget) {
        if (engine_ == nullptr) engine_ = make_interpreter(*machine_, {});
        engine_->push(Groups::All);
        Exit exit = engine_->run(budget);
        engine_->pull(Groups::All);
        return exit;
    }
    // Executes one slice, and says how many instructions there were in it.
    u64 instructions_of_a_slice() {
        const u64 before = engine_ == nullptr ? 0 : engine_->instructions();
        EXPECT_EQ(run({.host_time = 1}).kind, ExitKind::BudgetUsed);
        return engine_->instructions() - before;
    }

    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Engine> engine_;
};

// The frame of #AC is misaligned and its handler in ring 3, where that is #AC again: neither makes a double fault (SDM
// vol. 3A, 6.15, table 6-5), and a CPU that meets this does nothing else any more.
TEST_F(UnendingWork, AnAlignmentCheckOfItsOwnFrameUsesUpBudgets) {
    set_gate(kAc, kInterruptGate, kCode3);
    set_level(3);
    cpu().control.cr0 |= cr0::AM;
    cpu().general.rflags |= rflags::AC;
    cpu().general.gpr[RSP] = kStack + 2;
    set_code({0x90, 0xa1, 1, 0, 0, 0});  // nop; mov eax, [1]
    EXPECT_EQ(run({.instructions = 1000}).kind, ExitKind::BudgetUsed);
    EXPECT_EQ(engine_->instructions(), 1000u);
    EXPECT_TRUE(cpu().events.exception_pending);
    EXPECT_EQ(cpu().events.exception_vector, kAc);
    EXPECT_EQ(cpu().general.rip, kCode + 1);
    engine_->kick();
    EXPECT_EQ(run({}).kind, ExitKind::Kicked);

    // It goes on where the frame is aligned.
    cpu().general.gpr[RSP] = kStack;
    EXPECT_EQ(run({.instructions = 10}).kind, ExitKind::BudgetUsed);
    EXPECT_FALSE(cpu().events.exception_pending);
    EXPECT_EQ(cpu().general.rip, kHandlers + 2 * kAc);
    u32 saved = 0;
    EXPECT_TRUE(machine_->vmem().read_value(cpu().general.gpr[RSP] + 4, saved));
    EXPECT_EQ(saved, kCode + 1);
}

// A task without a code segment faults at once, and the fault's handler is the same task, which cannot become busy as
// its descriptor lies in ROM.
TEST_F(UnendingWork, ATaskThatFaultsAtOnceUsesUpBudgets) {
    std::vector<u8> table(kPageSize);
    ASSERT_TRUE(machine_->vmem().read(kGdt, table.data(), 0x28));
    const std::vector<u8> task{0x67, 0, kTss & 0xff, kTss >> 8, 0, 0x89, 0, 0};
    std::copy(task.begin(), task.end(), table.begin() + kTask);
    ASSERT_TRUE(machine_->vmem().add_rom(kRom, table));
    cpu().segments.gdtr.base = kRom;
    cpu().segments.tr = {.base = 0x4000, .limit = 0x67, .access = Segment::P | 11, .selector = kData0};
    set_gate(kTs, kTaskGate, kTask);
    set_code({0xea, 0, 0, 0, 0, kTask, 0});  // jmp kTask:0
    EXPECT_EQ(run({.instructions = 1000}).kind, ExitKind::BudgetUsed);
    EXPECT_EQ(cpu().segments.tr.selector, kTask);
    EXPECT_EQ(cpu().events.exception_vector, kTs);
    engine_->kick();
    EXPECT_EQ(run({}).kind, ExitKind::Kicked);
}

// Copies 64 KiB from 180000h again and again.
std::vector<u8> copies_to(u32 destination) {
    std::vector<u8> code{0xb9, 0,    0,    1,    0,  // mov ecx, 10000h
                         0xbe, 0,    0,    0x18, 0,  // mov esi, 180000h
                         0xbf, 0,    0,    0,    0,  // mov edi, destination
                         0xf3, 0xa4, 0xeb, 0xed};    // rep movsb; jmp to the beginning
    for (unsigned i = 0; i < 4; ++i) code[11 + i] = static_cast<u8>(destination >> 8 * i);
    return code;
}

TEST_F(UnendingWork, ASliceHoldsFewCopiesThatGoByteByByte) {
    cpu().general.rflags |= rflags::DF;
    set_code(copies_to(0x200000));
    EXPECT_LE(instructions_of_a_slice(), 8u);
    EXPECT_LE(instructions_of_a_slice(), 8u);
}

TEST_F(UnendingWork, ASliceHoldsFewCopiesOntoThemselves) {
    set_code(copies_to(0x180001));
    EXPECT_LE(instructions_of_a_slice(), 8u);
}

// A store looks at all blocks of its page, though none of them has that byte.
TEST_F(UnendingWork, ASliceHoldsFewStoresBesideThousandsOfBlocks) {
    constexpr u64 kPage = 0x200000, kReturns = 64 * 63 + 1;  // the last of them in the line that is written to
    const std::vector<u8> returns(kReturns, 0xc3);
    ASSERT_TRUE(machine_->vmem().write(kPage, returns.data(), returns.size()));
    set_code({0xb8, 0,    0,    0x20, 0,                // mov eax, kPage
              0xff, 0xd0, 0x40,                         // again: call eax; inc eax
              0x3d, 0xc1, 0x0f, 0x20, 0, 0x75, 0xf6,    // cmp eax, kPage + kReturns; jne again
              0xa3, 0xf0, 0x0f, 0x20, 0, 0xeb, 0xf9});  // mov [kPage + ff0h], eax; jmp to it
    EXPECT_EQ(run({.instructions = 1 + 5 * kReturns}).kind, ExitKind::BudgetUsed);
    const u64 before = engine_->instructions();
    EXPECT_EQ(engine_->run({.host_time = 1}).kind, ExitKind::BudgetUsed);
    EXPECT_LE(engine_->instructions() - before, 1000u);
}

TEST_F(UnendingWork, ASliceHoldsMoreCopiesOfBlocks) {
    // What ./dev test-without leaves out of the interpreter.
    const char* without = std::getenv("DUALVM_WITHOUT");
    for (const std::string_view needed : {"strings", "tlb"}) {
        if (without != nullptr && without == needed) GTEST_SKIP() << "copies go byte by byte without " << needed;
    }
    set_code(copies_to(0x200000));
    EXPECT_GE(instructions_of_a_slice(), 20u);
}

}  // namespace
}  // namespace dualvm
