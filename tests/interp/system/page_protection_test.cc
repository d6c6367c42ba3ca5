// SMEP, SMAP, UMIP, PCIDs, large pages and reserved bits (SDM vol. 3A, 4.5, 4.6, 4.7, 4.10; 2.5).
#include "control_registers.h"
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

enum : u32 { kErrorPresent = 1, kErrorWrite = 2, kErrorReserved = 8, kErrorFetch = 16 };
constexpr u64 kPresent = 1, kWritable = 2, kUserPage = 4, kLarge = 0x80;

class PageProtection : public SystemTest {
protected:
    void SetUp() override {
        SystemTest::SetUp();
        long_mode();  // all pages are user pages
    }
    u64 pdpte() { return kPageTables + 0x1000; }
    u64 pde() { return kPageTables + 0x2000; }
    // One linear page of 4 KiB at 2 MiB + index * 4 KiB, which is kData.
    u64 small_page(u64 flags, u64 index = 0) {
        const u64 table = kPageTables + 0x3000;
        store(pde() + 8, table | kPresent | kWritable | kUserPage);
        store(table + 8 * index, kData | flags);
        return (u64{2} << 20) + index * kPageSize;
    }
    bool reads(u64 linear, Privilege who = Privilege::Current) {
        u8 byte = 0;
        return read_linear(s(), linear, &byte, 1, who);
    }
    bool writes(u64 linear, Privilege who = Privilege::Current) {
        const u8 byte = 0x5a;
        return write_linear(s(), linear, &byte, 1, who);
    }
    bool fetches(u64 linear) {
        u64 physical = 0;
        return translate(s(), linear, Access::Execute, s().user, physical);
    }
    void expect_page_fault(u32 error) {
        EXPECT_EQ(s().fault.vector, PF);
        EXPECT_EQ(s().fault.error_code, error);
    }
};

TEST_F(PageProtection, SmepForbidsTheKernelUserCode) {
    EXPECT_TRUE(fetches(kCode));
    ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::SMEP), Flow::Jump);
    EXPECT_FALSE(fetches(kCode));
    expect_page_fault(kErrorPresent | kErrorFetch);
    EXPECT_TRUE(reads(kCode));
    set_level(3);
    EXPECT_TRUE(fetches(kCode));
}

TEST_F(PageProtection, SmapForbidsTheKernelUserDataUnlessAcIsSet) {
    ASSERT_TRUE(writes(kData));  // cached
    ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::SMAP), Flow::Jump);
    EXPECT_FALSE(reads(kData));
    expect_page_fault(kErrorPresent);
    EXPECT_FALSE(writes(kData));
    expect_page_fault(kErrorPresent | kErrorWrite);
    EXPECT_EQ(execute({0x0f, 0x01, 0xcb}), Flow::Jump);  // STAC
    privilege_changed(s());
    EXPECT_TRUE(reads(kData));
    EXPECT_TRUE(writes(kData));
    EXPECT_EQ(execute({0x0f, 0x01, 0xca}), Flow::Jump);  // CLAC
    privilege_changed(s());
    EXPECT_FALSE(reads(kData));
    EXPECT_FALSE(writes(kData));
}

TEST_F(PageProtection, SmapLetsNoImplicitAccessAtUserData) {
    ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::SMAP), Flow::Jump);
    cpu().general.rflags |= rflags::AC;
    privilege_changed(s());
    EXPECT_TRUE(reads(kData));
    EXPECT_FALSE(reads(kData, Privilege::Supervisor));
    set_level(3);
    EXPECT_TRUE(reads(kData));
    EXPECT_FALSE(reads(kData, Privilege::Supervisor));
    EXPECT_FALSE(writes(kData, Privilege::Supervisor));
}

TEST_F(PageProtection, SmapLeavesSupervisorPagesAlone) {
    const u64 page = small_page(kPresent | kWritable);
    ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::SMAP), Flow::Jump);
    EXPECT_TRUE(writes(page));
    set_level(3);
    EXPECT_FALSE(reads(page));
    EXPECT_TRUE(reads(page, Privilege::Supervisor));
}

TEST_F(PageProtection, ClacAndStacAreUndefinedOutsideRing0) {
    set_level(3);
    expect_fault({0x0f, 0x01, 0xca}, UD);
    expect_fault({0x0f, 0x01, 0xcb}, UD);
}

TEST_F(PageProtection, UmipHidesTheTables) {
    ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::UMIP), Flow::Jump);
    reg(RBX) = kData;
    EXPECT_EQ(execute({0x0f, 0x01, 0x03}), Flow::Next);  // SGDT [RBX]
    set_level(3);
    reg(RBX) = kData;
    expect_fault({0x0f, 0x01, 0x03}, GP);  // SGDT
    expect_fault({0x0f, 0x01, 0x0b}, GP);  // SIDT
    expect_fault({0x0f, 0x00, 0xc0}, GP);  // SLDT
    expect_fault({0x0f, 0x00, 0xc8}, GP);  // STR
    expect_fault({0x0f, 0x01, 0xe0}, GP);  // SMSW
    cpu().control.cr4 = cr4::PAE;
    EXPECT_EQ(execute({0x0f, 0x01, 0xe0}), Flow::Next);
}

TEST_F(PageProtection, PcidsNeedLongModeAndStartAtZero) {
    cpu().control.cr3 |= 1;
    EXPECT_EQ(write_cr4(s(), cr4::PAE | cr4::PCIDE), Flow::Fault);
    cpu().control.cr3 &= ~u64{1};
    EXPECT_EQ(write_cr3(s(), kPageTables | u64{1} << 63), Flow::Fault);  // bit 63 is reserved without PCIDs
    EXPECT_EQ(write_cr4(s(), cr4::PAE | cr4::PCIDE), Flow::Jump);
    EXPECT_EQ(write_cr3(s(), kPageTables | 5 | u64{1} << 63), Flow::Jump);
    EXPECT_EQ(cpu().control.cr3, kPageTables | 5);
    EXPECT_EQ(write_cr3(s(), kPageTables | u64{1} << 62), Flow::Fault);
    EXPECT_EQ(write_cr0(s(), cr0::PE | cr0::ET), Flow::Fault);
}

TEST_F(PageProtection, EveryPcidHasItsOwnTranslations) {
    const u64 page = small_page(kPresent | kWritable);
    ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::PCIDE), Flow::Jump);
    ASSERT_TRUE(reads(page));
    small_page(0);
    ASSERT_EQ(write_cr3(s(), kPageTables | 1), Flow::Jump);
    EXPECT_FALSE(reads(page));
}

TEST_F(PageProtection, InvpcidForgetsByItsType) {
    const u64 page = small_page(kPresent | kWritable);
    ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::PCIDE), Flow::Jump);
    reg(RBX) = kData;
    for (u64 type = 0; type < 4; ++type) {
        small_page(kPresent | kWritable);
        ASSERT_TRUE(reads(page)) << type;
        small_page(0);
        store<u64>(kData, 0);
        store<u64>(kData + 8, page);
        reg(RAX) = type;
        EXPECT_EQ(execute({0x66, 0x0f, 0x38, 0x82, 0x03}), Flow::Jump);  // INVPCID RAX, [RBX]
        EXPECT_FALSE(reads(page)) << type;
    }
}

TEST_F(PageProtection, InvpcidChecksItsDescriptor) {
    const std::initializer_list<u8> instruction = {0x66, 0x0f, 0x38, 0x82, 0x03};
    reg(RBX) = kData;
    reg(RAX) = 4;
    expect_fault(instruction, GP);  // no such type
    reg(RAX) = 1;
    store<u64>(kData, 1);
    expect_fault(instruction, GP);  // a PCID without CR4.PCIDE
    cpu().control.cr4 |= cr4::PCIDE;
    EXPECT_EQ(execute(instruction), Flow::Jump);
    store<u64>(kData, 0x1000);
    expect_fault(instruction, GP);  // 12 bits
    store<u64>(kData, 0);
    store<u64>(kData + 8, u64{1} << 47);
    EXPECT_EQ(execute(instruction), Flow::Jump);
    reg(RAX) = 0;
    expect_fault(instruction, GP);  // not canonical
    set_level(3);
    reg(RBX) = kData;
    expect_fault(instruction, GP);
}

TEST_F(PageProtection, PagesOf1GibibyteAreForgottenWhole) {
    store(pdpte() + 8, kPresent | kWritable | kLarge);
    constexpr u64 kBase = u64{1} << 30, kElsewhere = kBase + (u64{512} << 20);
    store<u8>(kData, 0x77);
    u8 byte = 0;
    ASSERT_TRUE(read_linear_value(s(), kBase + kData, byte));
    EXPECT_EQ(byte, 0x77);
    store<u64>(pdpte() + 8, 0);
    flush_tlb_page(s(), kElsewhere);
    EXPECT_FALSE(reads(kBase + kData));
}

TEST_F(PageProtection, ReservedBitsOfEachLevel) {
    const u64 page = small_page(kPresent);
    const auto expect_reserved = [&](u64 linear) {
        flush_tlb(s());
        EXPECT_FALSE(reads(linear));
        expect_page_fault(kErrorPresent | kErrorReserved);
    };
    store(pdpte() + 8, kPresent | kLarge | 0x2000);  // bits 29:13 of 1 GiB
    expect_reserved(u64{1} << 30);
    store(pde() + 16, kPresent | kLarge | 0x2000);  // bits 20:13 of 2 MiB
    expect_reserved(u64{4} << 20);
    small_page(kPresent | u64{1} << 45);  // above the physical address width
    expect_reserved(page);
    small_page(kPresent | u64{1} << 63);  // NX without EFER.NXE
    expect_reserved(page);
    store(kPageTables + 8, kPresent | kLarge);  // PML4E
    expect_reserved(u64{1} << 39);
}

TEST_F(PageProtection, WriteProtectAndNoExecute) {
    const u64 page = small_page(kPresent | u64{1} << 63);
    cpu().control.efer |= efer::NXE;
    EXPECT_TRUE(writes(page));
    ASSERT_EQ(write_cr0(s(), cpu().control.cr0 | cr0::WP), Flow::Jump);
    EXPECT_FALSE(writes(page));
    expect_page_fault(kErrorPresent | kErrorWrite);
    EXPECT_FALSE(fetches(page));
    expect_page_fault(kErrorPresent | kErrorFetch);
}

}  // namespace
}  // namespace dualvm::interp
