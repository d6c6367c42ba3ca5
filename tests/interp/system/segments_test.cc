#include "system_fixture.h"

namespace dualvm::interp {
namespace {

class Segments : public SystemTest {
protected:
    // MOV DS, AX and MOV SS, AX.
    Flow mov_ds(u16 selector) {
        reg(RAX) = selector;
        return execute({0x8e, 0xd8});
    }
    Flow mov_ss(u16 selector) {
        reg(RAX) = selector;
        return execute({0x8e, 0xd0});
    }
    void expect_mov_ds_fault(u16 selector, u8 vector) {
        reg(RAX) = selector;
        expect_fault({0x8e, 0xd8}, vector, selector & 0xfffcu);
    }
    void expect_mov_ss_fault(u16 selector, u8 vector, u32 error) {
        reg(RAX) = selector;
        expect_fault({0x8e, 0xd0}, vector, error);
    }
    bool zero_flag() { return (cpu().general.rflags & rflags::ZF) != 0; }
};

TEST_F(Segments, RealModeLoadKeepsLimitAndRights) {
    seg(DS).limit = 0xffffffff;  // "unreal mode"
    EXPECT_NE(mov_ds(0x1234), Flow::Fault);
    EXPECT_EQ(seg(DS).base, 0x12340u);
    EXPECT_EQ(seg(DS).limit, 0xffffffffu);
}

TEST_F(Segments, LoadFillsTheHiddenPartAndMarksTheDescriptorAccessed) {
    protected_mode();
    store(kGdt + kData0, descriptor(0x12345678, 0x54321, 0x492));
    EXPECT_NE(mov_ds(kData0), Flow::Fault);
    EXPECT_EQ(seg(DS).base, 0x12345678u);
    EXPECT_EQ(seg(DS).limit, 0x54321u);
    EXPECT_EQ(seg(DS).access, Segment::P | Segment::S | Segment::DB | 3);
    EXPECT_EQ(load<u8>(kGdt + kData0 + 5), 0x93);
}

TEST_F(Segments, GranularityScalesTheLimit) {
    protected_mode();
    store(kGdt + kData0, descriptor(0, 1, 0xc92));
    EXPECT_NE(mov_ds(kData0), Flow::Fault);
    EXPECT_EQ(seg(DS).limit, 0x1fffu);
}

TEST_F(Segments, NullIsGoodForDsAndUnusableAfterwards) {
    protected_mode();
    EXPECT_NE(mov_ds(3), Flow::Fault);
    EXPECT_EQ(seg(DS).selector, 3);
    EXPECT_TRUE(seg(DS).has(Segment::Unusable));
    expect_fault({0xa0, 0, 0, 0, 0}, GP);  // MOV AL, [0]
}

TEST_F(Segments, OutsideTheTableIsGeneralProtectionWithTheSelector) {
    protected_mode();
    expect_mov_ds_fault(kBeyond | 2, GP);
}

TEST_F(Segments, LdtSelectorWithoutAnLdtIsGeneralProtectionWithTableIndicator) {
    protected_mode();
    expect_mov_ds_fault(0x0c, GP);
}

TEST_F(Segments, LdtSelectorsReadTheLdt) {
    protected_mode();
    store(kLdtTable + 8, descriptor(0x777000, 0xfff, 0x492));
    reg(RAX) = kLocal;
    EXPECT_EQ(execute({0x0f, 0x00, 0xd0}), Flow::Next);  // LLDT AX
    EXPECT_NE(mov_ds(0x0c), Flow::Fault);
    EXPECT_EQ(seg(DS).base, 0x777000u);
    expect_mov_ds_fault(0x1c, GP);
}

TEST_F(Segments, NotPresentData) {
    protected_mode();
    expect_mov_ds_fault(kAbsent, NP);
}

TEST_F(Segments, NotPresentStackIsAStackFault) {
    protected_mode();
    expect_mov_ss_fault(kAbsent, SS_, kAbsent);
}

TEST_F(Segments, ExecuteOnlyCodeAndSystemDescriptorsAreNotData) {
    protected_mode();
    expect_mov_ds_fault(kExecuteOnly, GP);
    expect_mov_ds_fault(kTask, GP);
}

TEST_F(Segments, DataOfAnInnerLevelIsRefused) {
    protected_mode(3);
    expect_mov_ds_fault(kData0, GP);
}

TEST_F(Segments, RplWeakensTheAccess) {
    protected_mode(0);
    expect_mov_ds_fault(kData0 | 3, GP);
    EXPECT_NE(mov_ds(kData3), Flow::Fault);
}

TEST_F(Segments, ConformingCodeCanBeReadFromAnyLevel) {
    protected_mode(3);
    EXPECT_NE(mov_ds(kConforming | 3), Flow::Fault);
}

TEST_F(Segments, StackSegmentRules) {
    protected_mode(0);
    expect_mov_ss_fault(0, GP, 0);
    expect_mov_ss_fault(kData0 | 3, GP, kData0);        // RPL
    expect_mov_ss_fault(kData3 & ~3, GP, kData3 & ~3);  // DPL
    expect_mov_ss_fault(kReadOnly, GP, kReadOnly);
    expect_mov_ss_fault(kCode0, GP, kCode0);
}

TEST_F(Segments, MovSsHoldsInterruptsBack) {
    protected_mode();
    EXPECT_EQ(mov_ss(kData0), Flow::Jump);
    EXPECT_TRUE(cpu().events.interrupt_shadow_mov_ss);
}

TEST_F(Segments, NullStackIn64BitModeBelowLevelThree) {
    long_mode(0);
    EXPECT_EQ(mov_ss(0), Flow::Jump);
    EXPECT_EQ(cpu().cpl(), 0u);
    long_mode(3);
    expect_mov_ss_fault(3, GP, 0);
}

TEST_F(Segments, FaultingPopLeavesTheStackPointer) {
    protected_mode();
    store<u32>(kStack0, kAbsent);
    expect_fault({0x1f}, NP, kAbsent);  // POP DS
}

TEST_F(Segments, PushAndPopUseTheOperandSize) {
    protected_mode();
    EXPECT_EQ(execute({0x1e}), Flow::Next);  // PUSH DS
    EXPECT_EQ(reg(RSP), kStack0 - 4);
    EXPECT_EQ(load32(kStack0 - 4), kData0);
    EXPECT_NE(execute({0x66, 0x07}), Flow::Fault);  // POP ES, 16 bits
    EXPECT_EQ(reg(RSP), kStack0 - 2);
}

TEST_F(Segments, LdsLoadsSegmentAndRegisterOrNeither) {
    protected_mode();
    reg(RAX) = kData;
    reg(RBX) = 1;
    store<u32>(kData, 0xdeadbeef);
    store<u16>(kData + 4, kAbsent);
    expect_fault({0xc5, 0x18}, NP, kAbsent);  // LDS EBX, [EAX]
    store<u16>(kData + 4, kData3);
    EXPECT_NE(execute({0xc5, 0x18}), Flow::Fault);
    EXPECT_EQ(reg(RBX), 0xdeadbeefu);
    EXPECT_EQ(seg(DS).selector, kData3);
}

TEST_F(Segments, LarGivesRightsOfWhatIsReachable) {
    protected_mode(3);
    reg(RCX) = kData3;
    EXPECT_EQ(execute({0x0f, 0x02, 0xc1}), Flow::Next);  // LAR EAX, ECX
    EXPECT_TRUE(zero_flag());
    EXPECT_EQ(reg(RAX), 0x00c0f200u);
    reg(RCX) = kData0;
    execute({0x0f, 0x02, 0xc1});
    EXPECT_FALSE(zero_flag());
    EXPECT_EQ(reg(RAX), 0x00c0f200u);
}

TEST_F(Segments, LarKnowsNoLdtInLongModeWhereLslDoes) {
    long_mode();
    reg(RCX) = kLocal;
    execute({0x0f, 0x02, 0xc1});  // LAR EAX, ECX
    EXPECT_FALSE(zero_flag());
    execute({0x0f, 0x03, 0xc1});  // LSL EAX, ECX
    EXPECT_TRUE(zero_flag());
    EXPECT_EQ(reg(RAX), 0x17u);
}

TEST_F(Segments, LslGivesTheByteLimit) {
    protected_mode();
    reg(RCX) = kTask;
    execute({0x0f, 0x03, 0xc1});  // LSL EAX, ECX
    EXPECT_TRUE(zero_flag());
    EXPECT_EQ(reg(RAX), 0x87u);
    reg(RCX) = kTaskGate_;  // gates have none
    execute({0x0f, 0x03, 0xc1});
    EXPECT_FALSE(zero_flag());
}

TEST_F(Segments, VerrAndVerwAskWithoutFaulting) {
    protected_mode();
    reg(RAX) = kReadOnly;
    execute({0x0f, 0x00, 0xe0});  // VERR AX
    EXPECT_TRUE(zero_flag());
    execute({0x0f, 0x00, 0xe8});  // VERW AX
    EXPECT_FALSE(zero_flag());
    reg(RAX) = kBeyond;
    execute({0x0f, 0x00, 0xe0});
    EXPECT_FALSE(zero_flag());
}

TEST_F(Segments, ArplRaisesTheRpl) {
    protected_mode();
    reg(RAX) = kData0;
    reg(RCX) = 3;
    EXPECT_EQ(execute({0x63, 0xc8}), Flow::Next);  // ARPL AX, CX
    EXPECT_EQ(reg(RAX), kData0 | 3u);
    EXPECT_TRUE(zero_flag());
}

TEST_F(Segments, SelectorQueriesDoNotExistInRealMode) { expect_fault({0x0f, 0x00, 0xe0}, UD); }

TEST_F(Segments, BaseInstructionsNeedCr4) {
    long_mode();
    expect_fault({0xf3, 0x48, 0x0f, 0xae, 0xc0}, UD);  // RDFSBASE RAX
    cpu().control.cr4 |= cr4::FSGSBASE;
    reg(RAX) = 0x123456789;
    EXPECT_EQ(execute({0xf3, 0x48, 0x0f, 0xae, 0xd0}), Flow::Next);  // WRFSBASE RAX
    EXPECT_EQ(seg(FS).base, 0x123456789u);
    EXPECT_EQ(execute({0xf3, 0x0f, 0xae, 0xd8}), Flow::Next);  // WRGSBASE EAX: the upper half is cleared
    EXPECT_EQ(seg(GS).base, 0x23456789u);
    EXPECT_EQ(execute({0xf3, 0x48, 0x0f, 0xae, 0xc1}), Flow::Next);  // RDFSBASE RCX
    EXPECT_EQ(reg(RCX), 0x123456789u);
    EXPECT_EQ(execute({0xf3, 0x0f, 0xae, 0xca}), Flow::Next);  // RDGSBASE EDX
    EXPECT_EQ(reg(RDX), 0x23456789u);
    reg(RAX) = u64{1} << 63;
    expect_fault({0xf3, 0x48, 0x0f, 0xae, 0xd0}, GP);
}

}  // namespace
}  // namespace dualvm::interp
