#include "dualvm/study/guest_view.h"

#include <gtest/gtest.h>

namespace dualvm::study {
namespace {

struct GuestView : testing::Test {
    std::unique_ptr<VMem> memory = std::move(*VMem::create(16));
    CpuFile cpu;

    void SetUp() override { cpu.reset(); }
    template <class Entry>
    void entry(u64 table, u64 index, Entry value) {
        ASSERT_TRUE(memory->write_value(table + index * sizeof(Entry), value));
    }
    void paging(u64 root, bool pae, bool long_mode) {
        cpu.control.cr0 |= cr0::PE | cr0::PG;
        cpu.control.cr3 = root;
        if (pae) cpu.control.cr4 |= cr4::PAE;
        if (long_mode) cpu.control.efer |= efer::LME | efer::LMA;
    }
};

TEST_F(GuestView, WithoutPagingLinearIsPhysical) { EXPECT_EQ(translate(cpu, *memory, 0x12345), 0x12345u); }

TEST_F(GuestView, AClosedA20GateForcesBit20ToZero) {
    memory->set_a20(false);
    EXPECT_EQ(translate(cpu, *memory, 0x123456), 0x023456u);
}

TEST_F(GuestView, FourLevels) {
    paging(0x1000, true, true);
    const u64 linear = 0xffff'8000'0020'3abc;
    entry<u64>(0x1000, 256, 0x2000 | 1);
    entry<u64>(0x2000, 0, 0x3000 | 1);
    entry<u64>(0x3000, 1, 0x4000 | 1);
    entry<u64>(0x4000, 3, 0x8000000000005000 | 1);  // no-execute does not matter here
    EXPECT_EQ(translate(cpu, *memory, linear), 0x5abcu);
    EXPECT_EQ(translate(cpu, *memory, linear + 0x1000), std::nullopt);
}

TEST_F(GuestView, LargePagesOfFourLevels) {
    paging(0x1000, true, true);
    entry<u64>(0x1000, 0, 0x2000 | 1);
    entry<u64>(0x2000, 0, 0x3000 | 1);
    entry<u64>(0x2000, 1, 0x40000000 | 0x81);  // 1 GiB
    entry<u64>(0x3000, 2, 0x600000 | 0x81);    // 2 MiB
    EXPECT_EQ(translate(cpu, *memory, 0x412345), 0x612345u);
    EXPECT_EQ(translate(cpu, *memory, 0x40000000 + 0x123456), 0x40123456u);
}

TEST_F(GuestView, Pae) {
    paging(0, true, false);
    cpu.control.pdpte[3] = 0x2000 | 1;
    entry<u64>(0x2000, 0, 0x3000 | 1);
    entry<u64>(0x3000, 5, 0x7000 | 1);
    EXPECT_EQ(translate(cpu, *memory, 0xc0005123), 0x7123u);
    EXPECT_EQ(translate(cpu, *memory, 0x5123), std::nullopt);
}

TEST_F(GuestView, ThirtyTwoBitPaging) {
    paging(0x1000, false, false);
    entry<u32>(0x1000, 1, 0x2000 | 1);
    entry<u32>(0x2000, 2, 0x9000 | 1);
    EXPECT_EQ(translate(cpu, *memory, 0x402345), 0x9345u);
    EXPECT_EQ(translate(cpu, *memory, 0x1'0040'2345), 0x9345u);  // addresses are 32 bits
}

TEST_F(GuestView, LargePagesOf32BitPagingNeedPse) {
    paging(0x1000, false, false);
    entry<u32>(0x1000, 1, 0x800000 | 0x81);
    cpu.control.cr4 |= cr4::PSE;
    EXPECT_EQ(translate(cpu, *memory, 0x512345), 0x912345u);
}

TEST_F(GuestView, TablesOutsideMemoryAreNotPresent) {
    paging(0xfffff000, true, true);
    EXPECT_EQ(translate(cpu, *memory, 0), std::nullopt);
}

TEST_F(GuestView, ReadingStopsWhereAPageIsMissing) {
    paging(0x1000, false, false);
    entry<u32>(0x1000, 0, 0x2000 | 1);
    entry<u32>(0x2000, 4, 0x9000 | 1);
    ASSERT_TRUE(memory->write_value<u32>(0x9ffc, 0x04030201));
    std::array<u8, 16> bytes{};
    EXPECT_EQ(read_linear(cpu, *memory, 0x4ffc, bytes), 4u);
    EXPECT_EQ(bytes[3], 4);
}

TEST_F(GuestView, CodeIsReadThroughTheCodeSegment) {
    cpu.segments.seg[CS].base = 0x7c00;
    cpu.general.rip = 0x10;
    ASSERT_TRUE(memory->write_value<u8>(0x7c10, 0xf4));
    EXPECT_EQ(code_at_rip(cpu, *memory).span()[0], 0xf4);
}

TEST_F(GuestView, HandlersOfEachMode) {
    entry<u32>(0, 8, 0xf0001234);  // real mode: offset 1234h in segment F000h
    EXPECT_EQ(handler_of(cpu, *memory, 8), 0x1234u);
    cpu.control.cr0 |= cr0::PE;
    cpu.segments.idtr.base = 0x6000;
    entry<u64>(0x6000, 8, 0x0010'8e00'0008'5678);
    EXPECT_EQ(handler_of(cpu, *memory, 8), 0x105678u);
    cpu.control.efer |= efer::LMA;
    entry<u64>(0x6000, 16, 0x8010'8e00'0008'5678);
    entry<u64>(0x6000, 17, 0xffffffff);
    EXPECT_EQ(handler_of(cpu, *memory, 8), 0xffff'ffff'8010'5678u);
}

}  // namespace
}  // namespace dualvm::study
