#include "reference/system_forms.h"
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

class Tables : public SystemTest {
protected:
    u32 tss_type() { return load<u8>(kGdt + kTask + 5) & 0xfu; }
};

TEST_F(Tables, LgdtAndSgdt) {
    protected_mode();
    store<u16>(kData, 0x1234);
    store<u32>(kData + 2, 0xab123456);
    reg(RAX) = kData;
    EXPECT_EQ(execute({0x66, 0x0f, 0x01, 0x10}), Flow::Next);  // 16-bit operand: 24 bits of base
    EXPECT_EQ(cpu().segments.gdtr.base, 0x123456u);
    EXPECT_EQ(execute({0x0f, 0x01, 0x10}), Flow::Next);
    EXPECT_EQ(cpu().segments.gdtr.base, 0xab123456u);
    EXPECT_EQ(cpu().segments.gdtr.limit, 0x1234);
    reg(RAX) = kData + 0x10;
    EXPECT_EQ(execute({0x0f, 0x01, 0x00}), Flow::Next);
    EXPECT_EQ(load32(kData + 0x12), 0xab123456u);
    EXPECT_EQ(load<u16>(kData + 0x16), 0);  // six bytes, not ten
}

TEST_F(Tables, LidtIn64BitModeReadsTenBytesAndWantsACanonicalBase) {
    long_mode();
    reg(RAX) = kData;
    store<u16>(kData, 0xfff);
    store<u64>(kData + 2, u64{1} << 47);
    expect_fault({0x0f, 0x01, 0x18}, GP);
    store<u64>(kData + 2, 0xffff800000001000);
    EXPECT_EQ(execute({0x0f, 0x01, 0x18}), Flow::Next);
    EXPECT_EQ(cpu().segments.idtr.base, 0xffff800000001000u);
}

TEST_F(Tables, LoadingNeedsLevelZero) {
    protected_mode(3);
    reg(RAX) = kData;
    expect_fault({0x0f, 0x01, 0x10}, GP);  // LGDT
    expect_fault({0x0f, 0x01, 0x18}, GP);  // LIDT
    expect_fault({0x0f, 0x00, 0xd0}, GP);  // LLDT
    expect_fault({0x0f, 0x00, 0xd8}, GP);  // LTR
}

TEST_F(Tables, LtrMarksTheTaskBusyAndRefusesABusyOne) {
    protected_mode();
    store(kGdt + kTask, descriptor(kTss, 0x67, 0x89));
    reg(RAX) = kTask;
    EXPECT_EQ(execute({0x0f, 0x00, 0xd8}), Flow::Next);
    EXPECT_EQ(tss_type(), 11u);
    EXPECT_EQ(cpu().segments.tr.type(), 11u);
    expect_fault({0x0f, 0x00, 0xd8}, GP, kTask);
    reg(RAX) = 0;
    expect_fault({0x0f, 0x00, 0xd8}, GP, 0);
    reg(RAX) = kData0;
    expect_fault({0x0f, 0x00, 0xd8}, GP, kData0);
    store(kGdt + kTask, descriptor(kTss, 0x67, 0x09));
    reg(RAX) = kTask;
    expect_fault({0x0f, 0x00, 0xd8}, NP, kTask);
}

TEST_F(Tables, LtrInLongModeReadsSixteenBytes) {
    long_mode();
    store(kGdt + kTask, descriptor(kTss, 0x67, 0x89));
    store<u64>(kGdt + kTask + 8, 0xffff8000);
    reg(RAX) = kTask;
    EXPECT_EQ(execute({0x0f, 0x00, 0xd8}), Flow::Next);
    EXPECT_EQ(cpu().segments.tr.base, 0xffff800000003000u);
}

TEST_F(Tables, LldtRules) {
    protected_mode();
    reg(RAX) = kTask;
    expect_fault({0x0f, 0x00, 0xd0}, GP, kTask);
    store(kGdt + kLocal, descriptor(kLdtTable, 0x17, 0x02));
    reg(RAX) = kLocal;
    expect_fault({0x0f, 0x00, 0xd0}, NP, kLocal);
    reg(RAX) = kLocal | 4;
    expect_fault({0x0f, 0x00, 0xd0}, GP, kLocal | 4);
    reg(RAX) = 0;
    EXPECT_EQ(execute({0x0f, 0x00, 0xd0}), Flow::Next);
    EXPECT_TRUE(cpu().segments.ldtr.has(Segment::Unusable));
}

TEST_F(Tables, StrAndSldtZeroExtendIntoRegisters) {
    long_mode(3);
    reg(RAX) = ~u64{0};
    EXPECT_EQ(execute({0x0f, 0x00, 0xc8}), Flow::Next);  // STR EAX
    EXPECT_EQ(reg(RAX), kTask);
    cpu().control.cr4 |= cr4::UMIP;
    expect_fault({0x0f, 0x00, 0xc8}, GP);
    expect_fault({0x0f, 0x00, 0xc0}, GP);
}

TEST_F(Tables, NoTasksInRealMode) {
    expect_fault({0x0f, 0x00, 0xc8}, UD);
    expect_fault({0x0f, 0x00, 0xd8}, UD);
}

class Io : public SystemTest {
protected:
    // A TSS with an I/O map behind it: ports 0-7 permitted but 3, 8 and up refused.
    void SetUp() override {
        SystemTest::SetUp();
        protected_mode(3);
        store<u16>(kTss + 0x66, 0x68);
        store<u8>(kTss + 0x68, 0x08);
        for (u32 i = 1; i < 0x20; ++i) store<u8>(kTss + 0x68 + i, 0xff);
    }
    bool refused(u16 port, unsigned size) {
        if (io_permitted(s(), port, size)) return false;
        EXPECT_EQ(s().fault.vector, GP);
        EXPECT_EQ(s().fault.error_code, 0u);
        return true;
    }
};

TEST_F(Io, BitmapDecidesWhenIoplDoesNot) {
    EXPECT_TRUE(io_permitted(s(), 0, 1));
    EXPECT_TRUE(io_permitted(s(), 4, 4));
    EXPECT_TRUE(refused(3, 1));
    EXPECT_TRUE(refused(0, 4));  // any of the bytes
    EXPECT_TRUE(refused(6, 4));  // over a byte of the map
    cpu().general.rflags |= rflags::IOPL;
    EXPECT_TRUE(io_permitted(s(), 3, 1));
}

TEST_F(Io, MapEndsAtTheTssLimit) {
    cpu().segments.tr.limit = 0x68;
    EXPECT_TRUE(refused(0, 1));  // two bytes are read
    cpu().segments.tr.limit = 0x69;
    EXPECT_TRUE(io_permitted(s(), 0, 1));
    EXPECT_TRUE(refused(0xffff, 1));
}

TEST_F(Io, SixteenBitTssHasNoMap) {
    cpu().segments.tr.access = Segment::P | 3;
    EXPECT_TRUE(refused(0, 1));
}

TEST_F(Io, VirtualModeAsksTheMapWhateverIopl) {
    cpu().general.rflags |= rflags::VM | rflags::IOPL;
    EXPECT_TRUE(refused(3, 1));
    EXPECT_TRUE(io_permitted(s(), 0, 1));
}

TEST_F(Io, InAndOutAskForPermission) {
    reg(RDX) = 3;
    expect_fault({0xec}, GP);        // IN AL, DX
    expect_fault({0xe7, 0x03}, GP);  // OUT 3, EAX
    reg(RDX) = 0;
    EXPECT_EQ(execute({0xec}), Flow::Next);
    EXPECT_EQ(reg(RAX), 0xffu);  // no device: the bus floats
    EXPECT_TRUE(s().io_done);
}

TEST_F(Io, CliAndStiFollowIopl) {
    expect_fault({0xfa}, GP);
    expect_fault({0xfb}, GP);
    cpu().general.rflags |= rflags::IOPL;
    EXPECT_EQ(execute({0xfb}), Flow::Jump);
    EXPECT_TRUE(cpu().events.interrupt_shadow_sti);
    cpu().events.interrupt_shadow_sti = false;
    EXPECT_EQ(execute({0xfb}), Flow::Next);  // set already: no shadow
    EXPECT_FALSE(cpu().events.interrupt_shadow_sti);
    EXPECT_EQ(execute({0xfa}), Flow::Next);
    EXPECT_EQ(cpu().general.rflags & rflags::IF, 0u);
}

}  // namespace
}  // namespace dualvm::interp
