// Far jumps, calls, returns and IRET outside IA-32e mode, and call gates in both worlds.
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

class FarTransfer : public SystemTest {
protected:
    // JMP or CALL ptr16:32.
    Flow jump(u16 selector, u32 offset) { return execute_far(0xea, selector, offset); }
    Flow call(u16 selector, u32 offset) { return execute_far(0x9a, selector, offset); }
    Flow execute_far(u8 opcode, u16 selector, u32 offset) {
        auto byte = [](u32 value, unsigned i) { return static_cast<u8>(value >> (8 * i)); };
        return execute({opcode, byte(offset, 0), byte(offset, 1), byte(offset, 2), byte(offset, 3), byte(selector, 0),
                        byte(selector, 1)});
    }
    void expect_far_fault(u8 opcode, u16 selector, u32 offset, u8 vector, u32 error) {
        CpuFile before = cpu();
        EXPECT_EQ(execute_far(opcode, selector, offset), Flow::Fault);
        EXPECT_EQ(s().fault.vector, vector);
        EXPECT_EQ(s().fault.error_code, error);
        before.general.rip = cpu().general.rip;
        EXPECT_EQ(differences(before, cpu(), Groups::All), "");
    }
    void store_words(u64 address, std::initializer_list<u32> values) {
        for (const u32 value : values) {
            store(address, value);
            address += 4;
        }
    }
    void call_gate(u64 rights, u16 selector, u64 offset, u64 parameters = 0) {
        store(kGdt + kGate, gate(selector, offset, rights, parameters));
        store<u64>(kGdt + kGate + 8, offset >> 32);
    }
};

constexpr u8 kJump = 0xea, kCall = 0x9a;
constexpr u64 kCallGate32User = 0xec, kCallGate16User = 0xe4;

TEST_F(FarTransfer, RealModeCallAndReturn) {
    EXPECT_EQ(execute({0x9a, 0x34, 0x12, 0x00, 0x07}), Flow::Jump);  // CALL 0700:1234
    EXPECT_EQ(seg(CS).base, 0x7000u);
    EXPECT_EQ(cpu().general.rip, 0x1234u);
    EXPECT_EQ(load<u16>(kStack0 - 4), kCode + 5);
    EXPECT_EQ(execute({0xca, 0x02, 0x00}), Flow::Jump);  // RETF 2
    EXPECT_EQ(seg(CS).base, 0u);
    EXPECT_EQ(cpu().general.rip, kCode + 5);
    EXPECT_EQ(reg(RSP), kStack0 + 2);
}

TEST_F(FarTransfer, RealModeIretLoadsFlags) {
    store<u16>(kStack0, 0x1234);
    store<u16>(kStack0 + 2, 0x0700);
    store<u16>(kStack0 + 4, 0x7fd5);
    EXPECT_EQ(execute({0xcf}), Flow::Jump);
    EXPECT_EQ(cpu().general.rip, 0x1234u);
    EXPECT_EQ(cpu().general.rflags, 0x7fd7u);
}

TEST_F(FarTransfer, JumpSetsCsWithTheCurrentLevelAsRpl) {
    protected_mode();
    EXPECT_EQ(jump(kConforming | 3, 0x1234), Flow::Jump);
    EXPECT_EQ(seg(CS).selector, kConforming);
    EXPECT_EQ(cpu().general.rip, 0x1234u);
}

TEST_F(FarTransfer, JumpFaults) {
    protected_mode(3);
    expect_far_fault(kJump, 0, 0, GP, 0);
    expect_far_fault(kJump, kBeyond, 0, GP, kBeyond);
    expect_far_fault(kJump, kData3, 0, GP, kData3 & ~3u);
    expect_far_fault(kJump, kCode0, 0, GP, kCode0);
    store(kGdt + (kCode3 & ~3), descriptor(0, 0xfffff, kFlat32 | 0x7a));
    expect_far_fault(kJump, kCode3, 0, NP, kCode3 & ~3u);
    store(kGdt + (kCode3 & ~3), descriptor(0, 0xfff, 0x4fa));
    expect_far_fault(kJump, kCode3, 0x1000, GP, 0);
}

TEST_F(FarTransfer, CallFaultsBeforeAnythingIsPushed) {
    protected_mode();
    store<u32>(kStack0 - 4, 0x11111111);
    expect_far_fault(kCall, kCode3, 0, GP, kCode3 & ~3u);
    EXPECT_EQ(load32(kStack0 - 4), 0x11111111u);
    // A target beyond its segment's limit, whose descriptor stays as it was, too.
    const u64 small = descriptor(0, 0xfff, 0x49a);
    store(kGdt + kCode0, small);
    expect_far_fault(kCall, kCode0, 0x1000, GP, 0);
    EXPECT_EQ(load32(kStack0 - 4), 0x11111111u);
    EXPECT_EQ(load64(kGdt + kCode0), small);
    seg(SS).limit = 0xfff;
    expect_far_fault(kCall, kCode0, 0, SS_, 0);
}

TEST_F(FarTransfer, RealModeCallBeyondTheLimitPushesNothing) {
    store<u32>(kStack0 - 4, 0x11111111);
    expect_fault({0x66, 0x9a, 0, 0, 1, 0, 0, 0}, GP, 0);  // call 0:10000h
    EXPECT_EQ(load32(kStack0 - 4), 0x11111111u);
}

TEST_F(FarTransfer, CallGateToAnInnerLevelCopiesParameters) {
    protected_mode(3);
    call_gate(kCallGate32User, kCode0, kHandler, 2);
    store_words(kStack3, {0xaaaa, 0xbbbb});
    EXPECT_EQ(call(kGate | 3, 0xffffffff), Flow::Jump);  // the offset is ignored
    EXPECT_EQ(cpu().cpl(), 0u);
    EXPECT_EQ(cpu().general.rip, kHandler);
    EXPECT_EQ(seg(CS).selector, kCode0);
    EXPECT_EQ(reg(RSP), kStack0 - 24);
    EXPECT_EQ(load32(kStack0 - 4), kData3);
    EXPECT_EQ(load32(kStack0 - 8), kStack3);
    EXPECT_EQ(load32(kStack0 - 12), 0xbbbbu);
    EXPECT_EQ(load32(kStack0 - 16), 0xaaaau);
    EXPECT_EQ(load32(kStack0 - 20), kCode3);
    EXPECT_EQ(load32(kStack0 - 24), kCode + 7);

    EXPECT_EQ(execute({0xca, 0x08, 0x00}), Flow::Jump);  // RETF 8 takes them from both stacks
    EXPECT_EQ(cpu().cpl(), 3u);
    EXPECT_EQ(reg(RSP), kStack3 + 8);
    EXPECT_EQ(cpu().general.rip, kCode + 7);
}

TEST_F(FarTransfer, SixteenBitCallGateUsesWords) {
    protected_mode(3);
    call_gate(kCallGate16User, kCode0, 0x7000, 1);
    store<u16>(kStack3, 0xaaaa);
    EXPECT_EQ(call(kGate | 3, 0), Flow::Jump);
    EXPECT_EQ(reg(RSP), kStack0 - 10);
    EXPECT_EQ(load<u16>(kStack0 - 6), 0xaaaa);
}

TEST_F(FarTransfer, CallGateFaults) {
    protected_mode(3);
    call_gate(0x8c, kCode0, kHandler);  // DPL 0
    expect_far_fault(kCall, kGate | 3, 0, GP, kGate);
    call_gate(kCallGate32User & 0x7f, kCode0, kHandler);
    expect_far_fault(kCall, kGate | 3, 0, NP, kGate);
    call_gate(kCallGate32User, 0, kHandler);
    expect_far_fault(kCall, kGate | 3, 0, GP, 0);
    call_gate(kCallGate32User, kData0, kHandler);
    expect_far_fault(kCall, kGate | 3, 0, GP, kData0);
    call_gate(kCallGate32User, kCode0, kHandler);
    expect_far_fault(kJump, kGate | 3, 0, GP, kCode0);  // JMP cannot change the level
    store<u32>(kTss + 8, kAbsent);
    expect_far_fault(kCall, kGate | 3, 0, SS_, kAbsent);
}

TEST_F(FarTransfer, CallGateIn64BitMode) {
    long_mode(3);
    call_gate(kCallGate32User, kCode0, kHandler);
    store<u32>(kData, 0);
    store<u16>(kData + 4, kGate | 3);
    reg(RAX) = kData;
    EXPECT_EQ(execute({0xff, 0x18}), Flow::Jump);  // CALL FAR [RAX]
    EXPECT_EQ(cpu().cpl(), 0u);
    EXPECT_EQ(seg(SS).selector, 0);
    EXPECT_EQ(reg(RSP), kStack0 - 32);
    EXPECT_EQ(load64(kStack0 - 8), kData3);
    EXPECT_EQ(load64(kStack0 - 32), kCode + 2);
}

TEST_F(FarTransfer, NarrowOperandsUseAllOfRspIn64BitMode) {
    long_mode();
    constexpr u64 kHigh = 0xffff800000000000;
    store(kPageTables + 8 * 256, load64(kPageTables));  // memory is there as well
    store<u32>(kData, kHandler);
    store<u16>(kData + 4, kCode0);
    reg(RAX) = kData;
    reg(RSP) = kHigh + kStack0;
    EXPECT_EQ(execute({0xff, 0x18}), Flow::Jump);  // CALL FAR m16:32 [RAX]
    EXPECT_EQ(reg(RSP), kHigh + kStack0 - 8);
    EXPECT_EQ(load32(kStack0 - 8), kCode + 2);
    EXPECT_EQ(execute({0xcb}), Flow::Jump);  // RETF
    EXPECT_EQ(reg(RSP), kHigh + kStack0);
    EXPECT_EQ(cpu().general.rip, kCode + 2);
    store_words(kStack0, {0x5555, kCode0, u32{rflags::Fixed1}, 0x7777, kData0});
    EXPECT_EQ(execute({0xcf}), Flow::Jump);  // IRETD
    EXPECT_EQ(cpu().general.rip, 0x5555u);
    EXPECT_EQ(reg(RSP), 0x7777u);
}

TEST_F(FarTransfer, UpperHalfOfA64BitGateMustHaveNoType) {
    long_mode(3);
    call_gate(kCallGate32User, kCode0, kHandler);
    store<u64>(kGdt + kGate + 8, u64{1} << 40);
    store<u16>(kData + 4, kGate | 3);
    reg(RAX) = kData;
    expect_fault({0xff, 0x18}, GP, kGate);
}

TEST_F(FarTransfer, ReturnToAnInnerLevelIsRefused) {
    protected_mode(3);
    store_words(kStack3, {0x1234, kCode0});
    expect_fault({0xcb}, GP, kCode0);
}

TEST_F(FarTransfer, ReturnToAnOuterLevelTakesInnerSegmentsAway) {
    protected_mode(0);
    seg(ES) = {.limit = 0xfff, .access = Segment::P | Segment::S | Segment::DplMask | 3, .selector = kData3};
    store_words(kStack0, {0x1234, kCode3, kStack3, kData3});
    EXPECT_EQ(execute({0xcb}), Flow::Jump);
    EXPECT_EQ(cpu().cpl(), 3u);
    EXPECT_EQ(reg(RSP), kStack3);
    EXPECT_TRUE(seg(DS).has(Segment::Unusable));
    EXPECT_EQ(seg(ES).selector, kData3);
}

TEST_F(FarTransfer, ReturnToAnOuterLevelLeavesNullSelectorsZero) {
    protected_mode(0);
    for (const SegmentName name : {ES, FS, GS}) seg(name) = null_segment(static_cast<u16>(name == ES ? 3 : 1));
    seg(GS).base = 0x1234;
    store_words(kStack0, {0x1234, kCode3, kStack3, kData3});
    EXPECT_EQ(execute({0xcb}), Flow::Jump);
    for (const SegmentName name : {ES, FS, GS}) EXPECT_EQ(seg(name).selector, 0u);
    EXPECT_EQ(seg(GS).base, 0x1234u);
}

TEST_F(FarTransfer, ReturnBeyondTheLimitLeavesTheDescriptorAlone) {
    protected_mode(0);
    const u64 small = descriptor(0, 0xfff, 0x49a);
    store(kGdt + kCode0, small);
    store_words(kStack0, {0x1000, kCode0});
    expect_fault({0xcb}, GP, 0);
    EXPECT_EQ(load64(kGdt + kCode0), small);
}

TEST_F(FarTransfer, ReturnWithABadStackChangesNothing) {
    protected_mode(0);
    store_words(kStack0, {0x1234, kCode3, kStack3, kData0});
    expect_fault({0xcb}, GP, kData0);
    store_words(kStack0, {0x1234, kCode3, kStack3, 0});
    expect_fault({0xcb}, GP, 0);
}

TEST_F(FarTransfer, ReturnToASixteenBitStackLoadsSpOnly) {
    protected_mode(0);
    store(kGdt + (kData3 & ~3), descriptor(0, 0xffff, 0xf2));
    reg(RSP) = 0x18000;
    store_words(0x18000, {0x1234, kCode3, 0xaaaa5678, kData3});
    EXPECT_EQ(execute({0xcb}), Flow::Jump);
    EXPECT_EQ(reg(RSP), 0x15678u);
}

TEST_F(FarTransfer, IretLoadsOnlyTheFlagsItsLevelMay) {
    protected_mode(3);
    store_words(kStack3, {0x1234, kCode3, 0x3f7fd7});
    EXPECT_EQ(execute({0xcf}), Flow::Jump);
    // Not IOPL, IF (IOPL is 0), VM, VIF, VIP.
    EXPECT_EQ(cpu().general.rflags, 0x3f7fd7u & ~(rflags::IOPL | rflags::IF | rflags::VM | rflags::VIF | rflags::VIP));
}

TEST_F(FarTransfer, SixteenBitIretKeepsTheUpperFlags) {
    protected_mode(0);
    cpu().general.rflags |= rflags::ID;
    store<u16>(kStack0, 0x1234);
    store<u16>(kStack0 + 2, kCode0);
    store<u16>(kStack0 + 4, rflags::CF);
    EXPECT_EQ(execute({0x66, 0xcf}), Flow::Jump);
    EXPECT_EQ(cpu().general.rflags, rflags::ID | rflags::CF | rflags::Fixed1);
}

TEST_F(FarTransfer, IretToVirtualMode) {
    protected_mode(0);
    store_words(kStack0, {0x1234, 0x5678, rflags::VM | rflags::IF | rflags::IOPL, 0xfff0, 0x1000, 1, 2, 3, 4});
    EXPECT_EQ(execute({0xcf}), Flow::Jump);
    EXPECT_EQ(cpu().mode(), CpuMode::Virtual8086);
    EXPECT_EQ(seg(CS).base, 0x56780u);
    EXPECT_EQ(reg(RSP), 0xfff0u);
    EXPECT_EQ(seg(SS).base, 0x10000u);
    EXPECT_EQ(seg(ES).base, 0x10u);
    EXPECT_EQ(seg(DS).base, 0x20u);
    EXPECT_EQ(seg(FS).base, 0x30u);
    EXPECT_EQ(seg(GS).base, 0x40u);
    EXPECT_TRUE(s().user);
    cpu().general.rflags &= ~rflags::IOPL;
    expect_fault({0xcf}, GP, 0);  // IRET there needs IOPL 3
}

}  // namespace
}  // namespace dualvm::interp
