#include "control_registers.h"
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

class Control : public SystemTest {
protected:
    void expect_refused(Flow (*write)(State&, u64), u64 value) {
        const CpuFile before = cpu();
        EXPECT_EQ(write(s(), value), Flow::Fault);
        EXPECT_EQ(s().fault.vector, GP);
        EXPECT_EQ(s().fault.error_code, 0u);
        EXPECT_EQ(differences(before, cpu(), Groups::All), "");
    }
};

TEST_F(Control, Cr0Combinations) {
    expect_refused(write_cr0, cr0::PG);
    expect_refused(write_cr0, cr0::NW);
    expect_refused(write_cr0, u64{1} << 32 | cr0::PE);
    EXPECT_EQ(write_cr0(s(), cr0::PE | 0x0800ff00), Flow::Jump);
    EXPECT_EQ(cpu().control.cr0, cr0::PE | cr0::ET);
}

TEST_F(Control, LongModeIsActivatedByPaging) {
    protected_mode();
    cpu().control.efer = efer::LME;
    expect_refused(write_cr0, cr0::PE | cr0::PG);  // without PAE
    cpu().control.cr4 = cr4::PAE;
    seg(CS).access |= Segment::L;
    expect_refused(write_cr0, cr0::PE | cr0::PG);
    seg(CS).access &= ~Segment::L;
    cpu().segments.tr.access = Segment::P | 3;
    expect_refused(write_cr0, cr0::PE | cr0::PG);  // a 16-bit TSS
    cpu().segments.tr.access = Segment::P | 11;
    EXPECT_EQ(write_cr0(s(), cr0::PE | cr0::PG), Flow::Jump);
    EXPECT_TRUE(s().long_mode_active());
    EXPECT_EQ(cpu().mode(), CpuMode::Compatibility32);
    EXPECT_EQ(write_cr0(s(), cr0::PE), Flow::Jump);
    EXPECT_FALSE(s().long_mode_active());
}

TEST_F(Control, LongModeCannotBeLeftFrom64BitCode) {
    long_mode();
    expect_refused(write_cr0, cr0::PE);
    expect_refused(write_cr4, 0);
}

TEST_F(Control, PaePagingLoadsItsFourRegisters) {
    protected_mode();
    cpu().control.cr4 = cr4::PAE;
    cpu().control.cr3 = kPageTables;
    store<u64>(kPageTables + 8, 0x20001);
    EXPECT_EQ(write_cr0(s(), cr0::PE | cr0::PG), Flow::Jump);
    EXPECT_EQ(cpu().control.pdpte[1], 0x20001u);
    store<u64>(kPageTables + 0x20, 0x20003);  // bit 1 is reserved
    expect_refused(write_cr3, kPageTables + 0x20);
    store<u64>(kPageTables + 0x20, 0x20002);  // but not where the entry is not present
    EXPECT_EQ(write_cr3(s(), kPageTables + 0x20), Flow::Jump);
}

TEST_F(Control, Cr3InLongModeHasNoBitsBeyondThePhysicalWidth) {
    long_mode();
    expect_refused(write_cr3, kPageTables | u64{1} << 40);
}

TEST_F(Control, Cr4TakesOnlyWhatTheModelOffers) {
    expect_refused(write_cr4, u64{1} << 31);
    expect_refused(write_cr4, u64{1} << 14);
    EXPECT_EQ(write_cr4(s(), cr4::PSE | cr4::PGE), Flow::Jump);
    EXPECT_EQ(cpu().control.cr4, cr4::PSE | cr4::PGE);
}

TEST_F(Control, MovToAndFromControlRegisters) {
    protected_mode();
    reg(RAX) = 0x12345000;
    EXPECT_EQ(execute({0x0f, 0x22, 0xd8}), Flow::Jump);  // MOV CR3, EAX
    EXPECT_EQ(execute({0x0f, 0x20, 0xd9}), Flow::Next);  // MOV ECX, CR3
    EXPECT_EQ(reg(RCX), 0x12345000u);
}

TEST_F(Control, TaskPriorityHasFourBits) {
    long_mode();
    reg(RAX) = 0x10;
    expect_fault({0x44, 0x0f, 0x22, 0xc0}, GP);  // MOV CR8, RAX
    reg(RAX) = 0xf;
    EXPECT_NE(execute({0x44, 0x0f, 0x22, 0xc0}), Flow::Fault);
    EXPECT_EQ(cpu().control.cr8, 0xfu);
}

TEST_F(Control, PrivilegedInstructionsNeedLevelZero) {
    protected_mode(3);
    expect_fault({0x0f, 0x20, 0xc0}, GP);                // MOV EAX, CR0
    expect_fault({0x0f, 0x22, 0xc0}, GP);                // MOV CR0, EAX
    expect_fault({0x0f, 0x21, 0xc0}, GP);                // MOV EAX, DR0
    expect_fault({0x0f, 0x06}, GP);                      // CLTS
    expect_fault({0x0f, 0x01, 0xf0}, GP);                // LMSW AX
    expect_fault({0x0f, 0x01, 0x38}, GP);                // INVLPG [EAX]
    expect_fault({0x0f, 0x08}, GP);                      // INVD
    expect_fault({0x0f, 0x09}, GP);                      // WBINVD
    expect_fault({0xf4}, GP);                            // HLT
    EXPECT_EQ(execute({0x0f, 0x01, 0xe0}), Flow::Next);  // SMSW EAX is for all, without UMIP
    EXPECT_EQ(reg(RAX), cpu().control.cr0);
}

TEST_F(Control, LmswSetsButDoesNotClearPe) {
    reg(RAX) = 0xffff;
    EXPECT_EQ(execute({0x0f, 0x01, 0xf0}), Flow::Jump);
    EXPECT_EQ(cpu().control.cr0 & 0xf, 0xfu);
    reg(RAX) = 0;
    EXPECT_EQ(execute({0x0f, 0x01, 0xf0}), Flow::Jump);
    EXPECT_EQ(cpu().control.cr0 & 0xf, cr0::PE);
}

TEST_F(Control, HaltStops) {
    EXPECT_EQ(execute({0xf4}), Flow::Halt);
    EXPECT_TRUE(cpu().events.halted);
}

TEST_F(Control, DebugRegistersKeepTheirFixedBits) {
    reg(RAX) = 0;
    execute({0x0f, 0x23, 0xf0});  // MOV DR6, EAX
    execute({0x0f, 0x23, 0xf8});  // MOV DR7, EAX
    EXPECT_EQ(cpu().debug.dr6, 0xffff0ff0u);
    EXPECT_EQ(cpu().debug.dr7, 0x400u);
}

TEST_F(Control, Dr4IsDr6UnlessDebugExtensionsAreOn) {
    cpu().debug.dr6 = 0xffff0ff1;
    EXPECT_EQ(execute({0x0f, 0x21, 0xe0}), Flow::Next);  // MOV EAX, DR4
    EXPECT_EQ(reg(RAX), 0xffff0ff1u);
    cpu().control.cr4 |= cr4::DE;
    expect_fault({0x0f, 0x21, 0xe0}, UD);
}

TEST_F(Control, GeneralDetectTrapsAccessesOutsideTheHandler) {
    protected_mode();
    set_gate(DB, 0x8e);
    cpu().debug.dr7 |= 1u << 13;
    EXPECT_EQ(execute({0x0f, 0x21, 0xc0}), Flow::Fault);
    EXPECT_EQ(s().fault.vector, DB);
    EXPECT_EQ(cpu().debug.dr6 & 1u << 13, 1u << 13);
    EXPECT_TRUE(deliver_fault(s(), kCode));
    EXPECT_EQ(execute({0x0f, 0x21, 0xc0}), Flow::Next);
}

TEST_F(Control, Dr7TakesOnly32Bits) {
    long_mode();
    reg(RAX) = u64{1} << 32;
    expect_fault({0x0f, 0x23, 0xf8}, GP);
}

TEST_F(Control, ExtendedControlRegisterNeedsOsxsave) {
    expect_fault({0x0f, 0x01, 0xd0}, UD);  // XGETBV
    expect_fault({0x0f, 0x01, 0xd1}, UD);  // XSETBV
}

TEST_F(Control, EferRules) {
    long_mode();
    EXPECT_FALSE(write_efer(s(), efer::LMA));  // LME cannot change while paging is on
    EXPECT_FALSE(write_efer(s(), efer::LME | u64{1} << 20));
    EXPECT_TRUE(write_efer(s(), efer::LME | efer::SCE | efer::NXE));
    EXPECT_EQ(cpu().control.efer, efer::LME | efer::LMA | efer::SCE | efer::NXE);
}

}  // namespace
}  // namespace dualvm::interp
