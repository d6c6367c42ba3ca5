// The software TLB by itself, and accesses that it answers in two parts.
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/run_loop.h"
#include "flat_machine.h"
#include "tlb.h"

namespace dualvm::interp {
namespace {

constexpr u64 kReach = TlbTable::kEntries * kPageSize;

bool everything(const TlbEntry&) { return true; }

TEST(Tlb, KnowsWhatItWasTold) {
    TlbTable table;
    EXPECT_EQ(table.find(0), nullptr);
    table.remember(0x5000, 0x1000);
    for (const u64 linear : {u64{0x5000}, u64{0x5fff}}) {
        ASSERT_NE(table.find(linear), nullptr) << linear;
        EXPECT_EQ(table.find(linear)->addend, 0x1000u);
    }
    EXPECT_EQ(table.find(0x4fff), nullptr);
    EXPECT_EQ(table.find(0x6000), nullptr);
}

TEST(Tlb, TheFirstPageIsAPageLikeAnyOther) {
    TlbTable table;
    table.remember(0, 7);
    ASSERT_NE(table.find(0xfff), nullptr);
    EXPECT_EQ(table.find(0xfff)->addend, 7u);
}

TEST(Tlb, PagesFourMebibytesApartHaveRoomSideBySide) {
    TlbTable table;
    for (u64 i = 0; i < 64; ++i) table.remember(i << 22, i);
    for (u64 i = 0; i < 64; ++i) ASSERT_NE(table.find(i << 22), nullptr) << i;
    table.remember(kReach, 1);
    EXPECT_EQ(table.find(0), nullptr);
}

// As many as it lists one by one, and more.
class TlbForgets : public testing::TestWithParam<u64> {
protected:
    void SetUp() override {
        for (u64 i = 0; i < GetParam(); ++i) table_.remember(page(i), i);
    }
    static u64 page(u64 i) { return (i * 33 * kPageSize) % kReach; }
    u64 known() const {
        u64 count = 0;
        for (u64 i = 0; i < GetParam(); ++i) count += table_.find(page(i)) != nullptr;
        return count;
    }
    TlbTable table_;
};
TEST_P(TlbForgets, EverythingAtAFlush) {
    ASSERT_EQ(known(), GetParam());
    table_.flush();
    EXPECT_EQ(known(), 0u);
    table_.remember(page(1), 1);
    EXPECT_NE(table_.find(page(1)), nullptr);
}
TEST_P(TlbForgets, WhatIsAskedFor) {
    table_.forget_if([](const TlbEntry& e) { return e.addend % 2 == 0; });
    EXPECT_EQ(known(), GetParam() / 2);
    EXPECT_EQ(table_.find(page(2)), nullptr);
    EXPECT_NE(table_.find(page(3)), nullptr);
}
TEST_P(TlbForgets, OnePage) {
    table_.forget_page(page(3) + 5);
    EXPECT_EQ(table_.find(page(3)), nullptr);
    table_.forget_page_if(page(2) + kReach, everything);  // the same place, another page
    EXPECT_EQ(known(), GetParam() - 1);
}
TEST_P(TlbForgets, ARegionOfFourMebibytes) {
    constexpr u64 kRegion = u64{1} << 22;
    table_.forget_region(page(3) + 5);
    for (u64 i = 0; i < GetParam(); ++i) {
        EXPECT_EQ(table_.find(page(i)) == nullptr, page(i) / kRegion == page(3) / kRegion) << i;
    }
    table_.remember(page(3) + kReach, 1);
    table_.forget_region(page(3));  // the same place, another region
    EXPECT_NE(table_.find(page(3) + kReach), nullptr);
}
TEST_P(TlbForgets, ARegionThatIsGoneWithoutALook) {
    EXPECT_GE(table_.forget_region(page(3)), 10u);
    EXPECT_EQ(table_.forget_region(page(3)), 0u);
    table_.remember(page(3), 1);
    table_.flush();
    EXPECT_EQ(known(), 0u);
}
INSTANTIATE_TEST_SUITE_P(FewAndMany, TlbForgets, testing::Values(10, 192, 194, 4000));

class AcrossPages : public testing::Test {
protected:
    static constexpr u64 kCode = 0x10'0000, kEdge = 0x40'0000, kUpperFrame = 0x60'0000;

    void SetUp() override {
        set_up_flat(*machine, /*long_mode=*/true);
        ASSERT_TRUE(machine->vmem().write_value(kFlatDirectory + 8 * 2, kUpperFrame | 0x83));  // above the edge
    }
    // With both pages used before: mov rax, [kEdge - 100h]; mov [kEdge - 100h], rax; the same at kEdge.
    void run(std::vector<u8> code) {
        std::vector<u8> all = {0x48, 0x8b, 0x04, 0x25, 0x00, 0xff, 0x3f, 0x00, 0x48, 0x89, 0x04,
                               0x25, 0x00, 0xff, 0x3f, 0x00, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x01,
                               0x40, 0x00, 0x48, 0x89, 0x04, 0x25, 0x00, 0x01, 0x40, 0x00};
        all.insert(all.end(), code.begin(), code.end());
        CpuFile& cpu = machine->cpu();
        cpu.general.rip = kCode;
        cpu.general.rflags = rflags::Fixed1;
        cpu.general.gpr[RBX] = 0x1122334455667788;
        ASSERT_TRUE(machine->vmem().write(kCode, all.data(), all.size()));
        auto engine = make_interpreter(*machine, {});
        EXPECT_EQ(run_loop(*machine, *engine, {.max_instructions = 1000}, {}).reason, "halted");
        engine->pull(Groups::All);
    }
    u32 get(u64 address) {
        u32 value = 0;
        EXPECT_TRUE(machine->vmem().read_value(address, value));
        return value;
    }

    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 8}));
};

TEST_F(AcrossPages, AStoreIsDividedBetweenThem) {
    run({0x48, 0x89, 0x1c, 0x25, 0xfd, 0xff, 0x3f, 0x00, 0xf4});  // mov [kEdge - 3], rbx; hlt
    EXPECT_EQ(get(kEdge - 4), 0x66778800u);
    EXPECT_EQ(get(kUpperFrame), 0x22334455u);
    EXPECT_EQ(get(kUpperFrame + 4), 0x11u);
    EXPECT_EQ(get(kEdge), 0u);
}

TEST_F(AcrossPages, ALoadIsPutTogetherFromThem) {
    ASSERT_TRUE(machine->vmem().write_value(kEdge - 4, u32{0xaabbccdd}));
    ASSERT_TRUE(machine->vmem().write_value(kUpperFrame, u32{0x11223344}));
    run({0x48, 0x8b, 0x0c, 0x25, 0xfd, 0xff, 0x3f, 0x00, 0xf4});  // mov rcx, [kEdge - 3]; hlt
    EXPECT_EQ(machine->cpu().general.gpr[RCX], 0x11223344aabbccu);
}

// The upper page has code in it: a store there must be seen, although the page has been written before.
TEST_F(AcrossPages, AStoreOverCodeIsSeen) {
    // kUpper: mov ecx, 0; ret -- whose immediate's first byte is at kUpperFrame + 1
    const std::vector<u8> callee = {0xb9, 0, 0, 0, 0, 0xc3};
    ASSERT_TRUE(machine->vmem().write(kUpperFrame, callee.data(), callee.size()));
    machine->cpu().general.gpr[RSP] = 0x20'0000;
    run({0xbd, 0x00, 0x00, 0x40, 0x00,                                // mov ebp, kEdge
         0xff, 0xd5,                                                  // call rbp
         0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0xb9, 0x05, 0x00, 0x00,  // mov rax, 5b955667788h: MOV ECX, 5
         0x48, 0x89, 0x04, 0x25, 0xfc, 0xff, 0x3f, 0x00,              // mov [kEdge - 4], rax
         0xff, 0xd5, 0xf4});                                          // call rbp; hlt
    EXPECT_EQ(machine->cpu().general.gpr[RCX], 5u);
}

}  // namespace
}  // namespace dualvm::interp
