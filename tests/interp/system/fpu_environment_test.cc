// The x87 environment in its four formats (SDM vol. 1, 8.1.10).
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

constexpr u16 kDirtyStatus = 0x3800 | 0x4100;  // TOP 7, some condition codes

class FpuEnvironment : public SystemTest {
protected:
    void fill() {
        FxImage& fx = s().fx;
        fx.fcw = 0x37f;
        fx.fsw = kDirtyStatus;
        fx.ftw = 0x83;  // registers 7, 0 and 1: ST0, ST1, ST2
        fx.fip = 0x12345678;
        fx.fdp = 0x9abcdef0;
        fx.fop = 0x5a5;
        fx.st[0] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};  // 1.0
        fx.st[1] = {};                                       // 0.0
        fx.st[2] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f};  // infinity
        reg(RBX) = kData;
    }
    // R7 valid, R0 zero, R1 special, the others empty.
    static constexpr u16 kTags = 0x3ff0 | 0x8 | 0x1;
    template <class T>
    std::array<T, 7> fields() {
        std::array<T, 7> all{};
        for (unsigned i = 0; i < 7; ++i) all[i] = load<T>(kData + sizeof(T) * i);
        return all;
    }
};

TEST_F(FpuEnvironment, Protected32) {
    protected_mode();
    fill();
    EXPECT_EQ(execute({0xd9, 0x33}), Flow::Next);  // FNSTENV [EBX]
    const std::array<u32, 7> expected = {
        0xffff037f, 0xffff0000 | kDirtyStatus, 0xffff0000 | kTags, 0x12345678, 0x05a50000, 0x9abcdef0, 0xffff0000};
    EXPECT_EQ(fields<u32>(), expected);
}

TEST_F(FpuEnvironment, Protected16) {
    protected_mode();
    fill();
    EXPECT_EQ(execute({0x66, 0xd9, 0x33}), Flow::Next);
    const std::array<u16, 7> expected = {0x37f, kDirtyStatus, kTags, 0x5678, 0, 0xdef0, 0};
    EXPECT_EQ(fields<u16>(), expected);
}

TEST_F(FpuEnvironment, Real16) {
    fill();
    EXPECT_EQ(execute({0xd9, 0x37}), Flow::Next);  // FNSTENV [BX]
    const std::array<u16, 7> expected = {0x37f, kDirtyStatus, kTags, 0x5678, 0x45a5, 0xdef0, 0xc000};
    EXPECT_EQ(fields<u16>(), expected);
}

TEST_F(FpuEnvironment, Real32) {
    fill();
    EXPECT_EQ(execute({0x66, 0xd9, 0x37}), Flow::Next);
    const std::array<u32, 7> expected = {
        0xffff037f, 0xffff0000 | kDirtyStatus, 0xffff0000 | kTags, 0xffff5678, 0x012345a5, 0xffffdef0, 0x09abc000};
    EXPECT_EQ(fields<u32>(), expected);
}

TEST_F(FpuEnvironment, Virtual8086ModeHasTheRealFormat) {
    protected_mode();
    cpu().general.rflags |= rflags::VM;
    for (Segment& segment : cpu().segments.seg) segment = virtual8086_segment(0);
    privilege_changed(s());
    fill();
    EXPECT_EQ(execute({0xd9, 0x37}), Flow::Next);
    EXPECT_EQ(fields<u16>()[4], 0x45a5);
}

TEST_F(FpuEnvironment, StoringMasksAllExceptions) {
    protected_mode();
    fill();
    s().fx.fcw = 0x340;
    s().fx.fsw = 0x8081;
    EXPECT_EQ(execute({0xd9, 0x33}), Flow::Jump);  // other handlers may be used from here on
    EXPECT_EQ(load<u16>(kData), 0x340);
    EXPECT_EQ(load<u16>(kData + 4), 0x8081);
    EXPECT_EQ(s().fx.fcw, 0x37f);
    EXPECT_EQ(s().fx.fsw, 0x1);
}

TEST_F(FpuEnvironment, LoadingAnotherTopLeavesRegistersInPlace) {
    protected_mode();
    fill();
    EXPECT_EQ(execute({0xd9, 0x33}), Flow::Next);
    const auto zero = s().fx.st[1], infinity = s().fx.st[2];
    store<u16>(kData + 4, 0);  // TOP 0
    s().fx.fip = s().fx.fdp = 0;
    s().fx.fop = 0;
    EXPECT_EQ(execute({0xd9, 0x23}), Flow::Next);  // FLDENV [EBX]
    EXPECT_EQ(s().fx.st[0], zero);
    EXPECT_EQ(s().fx.st[1], infinity);
    EXPECT_EQ(s().fx.ftw, 0x83);
    EXPECT_EQ(s().fx.fip, 0x12345678u);
    EXPECT_EQ(s().fx.fdp, 0x9abcdef0u);
    EXPECT_EQ(s().fx.fop, 0x5a5);
}

TEST_F(FpuEnvironment, RealFormatIsReadBack) {
    fill();
    EXPECT_EQ(execute({0x66, 0xd9, 0x37}), Flow::Next);
    s().fx.fip = s().fx.fdp = 0;
    EXPECT_EQ(execute({0x66, 0xd9, 0x27}), Flow::Next);
    EXPECT_EQ(s().fx.fip, 0x12345678u);
    EXPECT_EQ(s().fx.fdp, 0x9abcdef0u);
    EXPECT_EQ(s().fx.fop, 0x5a5);
}

TEST_F(FpuEnvironment, LoadedStatusHasItsSummaryFromFlagsAndMasks) {
    protected_mode();
    fill();
    EXPECT_EQ(execute({0xd9, 0x33}), Flow::Next);
    store<u16>(kData, 0x37e);
    store<u16>(kData + 4, 1);
    EXPECT_EQ(execute({0xd9, 0x23}), Flow::Jump);
    EXPECT_EQ(s().fx.fsw, 0x8081);
    store<u16>(kData, 0x37f);
    store<u16>(kData + 4, 0x8081);
    s().fx.fsw = 0;
    EXPECT_EQ(execute({0xd9, 0x23}), Flow::Jump);
    EXPECT_EQ(s().fx.fsw, 1);
}

TEST_F(FpuEnvironment, SaveInitialisesAndRestoreBringsBack) {
    protected_mode();
    fill();
    const FxImage before = s().fx;
    EXPECT_EQ(execute({0xdd, 0x33}), Flow::Next);  // FNSAVE [EBX]
    EXPECT_EQ(s().fx.fcw, 0x37f);
    EXPECT_EQ(s().fx.fsw, 0);
    EXPECT_EQ(s().fx.ftw, 0);
    EXPECT_EQ(s().fx.fip, 0u);
    EXPECT_EQ(load<u16>(kData + 28 + 8), 0x3fff);
    EXPECT_EQ(execute({0xdd, 0x23}), Flow::Next);  // FRSTOR [EBX]
    EXPECT_EQ(s().fx.st, before.st);
    EXPECT_EQ(s().fx.fsw, before.fsw);
    EXPECT_EQ(s().fx.ftw, before.ftw);
    EXPECT_EQ(s().fx.fip, before.fip);
}

TEST_F(FpuEnvironment, SaveAcrossAnUnmappedPageLeavesNothing) {
    long_mode();
    fill();
    const FxImage before = s().fx;
    reg(RBX) = (u64{2} << 20) - 50;  // what is behind is not mapped
    expect_fault({0xdd, 0x33}, PF, 2);
    EXPECT_EQ(cpu().control.cr2, u64{2} << 20);
    EXPECT_EQ(load<u8>((u64{2} << 20) - 50), 0);
    EXPECT_EQ(std::memcmp(&s().fx, &before, sizeof before), 0);
}

TEST_F(FpuEnvironment, UnavailableUnit) {
    protected_mode();
    fill();
    for (u64 bit : {cr0::EM, cr0::TS}) {
        cpu().control.cr0 = cr0::PE | bit;
        expect_fault({0xd9, 0x33}, NM);
        expect_fault({0xdd, 0x23}, NM);
        expect_fault({0xdb, 0xe3}, NM);
    }
    EXPECT_EQ(execute({0x9b}), Flow::Next);  // FWAIT minds TS only with MP
    cpu().control.cr0 |= cr0::MP;
    expect_fault({0x9b}, NM);
}

}  // namespace
}  // namespace dualvm::interp
