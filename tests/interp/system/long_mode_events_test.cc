// Event delivery and IRETQ in IA-32e mode.
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

constexpr u64 kInterrupt64 = 0x8e;

class LongModeEvents : public SystemTest {
protected:
    Event external(u8 vector) { return {.kind = EventKind::External, .vector = vector, .return_rip = kCode}; }
    void push_frame(u64 address, u64 rip, u64 cs, u64 flags, u64 rsp, u64 ss) {
        for (const u64 value : {rip, cs, flags, rsp, ss}) {
            store(address, value);
            address += 8;
        }
    }
};

TEST_F(LongModeEvents, SameLevelAlignsTheStackAndPushesSsRsp) {
    long_mode();
    reg(RSP) = kStack0 - 3;
    set_gate(0x40, kInterrupt64);
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    const u64 top = kStack0 - 16;
    EXPECT_EQ(reg(RSP), top - 40);
    EXPECT_EQ(load64(top - 8), kData0);
    EXPECT_EQ(load64(top - 16), kStack0 - 3);
    EXPECT_EQ(load64(top - 40), kCode);
    EXPECT_EQ(seg(SS).selector, kData0);
}

TEST_F(LongModeEvents, InnerLevelHasANullStackSegment) {
    long_mode(3);
    set_gate(0x40, kInterrupt64);
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(cpu().cpl(), 0u);
    EXPECT_FALSE(s().user);
    EXPECT_EQ(seg(SS).selector, 0);
    EXPECT_EQ(reg(RSP), kStack0 - 40);
    EXPECT_EQ(load64(kStack0 - 8), kData3);
}

TEST_F(LongModeEvents, InterruptStackTableWithoutChangeOfLevel) {
    long_mode();
    set_gate(0x40, kInterrupt64, kCode0, kHandler, 1);
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(reg(RSP), (kIst1 & ~u64{15}) - 40);
    EXPECT_EQ(seg(SS).selector, kData0);
}

TEST_F(LongModeEvents, InterruptStackBeyondTheTssIsATssFault) {
    long_mode();
    set_gate(0x40, kInterrupt64, kCode0, kHandler, 7);
    cpu().segments.tr.limit = 0x5a;
    expect_event_fault(external(0x40), TS, kTask + 1);
    expect_fault({0xcd, 0x40}, TS, kTask);  // INT 40h: EXT is clear
}

TEST_F(LongModeEvents, HandlersMustBe64BitCode) {
    long_mode();
    set_gate(0x40, kInterrupt64, kCode16);
    expect_event_fault(external(0x40), GP, kCode16 + 1);
}

TEST_F(LongModeEvents, SixteenBitAndTaskGatesDoNotExist) {
    long_mode();
    set_gate(0x40, 0x86);
    expect_event_fault(external(0x40), GP, 0x40 * 8 + 3);
    set_gate(0x40, 0x85);
    expect_event_fault(external(0x40), GP, 0x40 * 8 + 3);
}

TEST_F(LongModeEvents, NonCanonicalHandlerAndStack) {
    long_mode();
    set_gate(0x40, kInterrupt64, kCode0, u64{1} << 47);
    expect_event_fault(external(0x40), GP, 1);
    set_gate(0x40, kInterrupt64);
    reg(RSP) = u64{1} << 47 | 0x100;
    expect_event_fault(external(0x40), SS_, 1);
}

TEST_F(LongModeEvents, NonCanonicalStackPointerInTheTssIsAStackFault) {
    long_mode(3);
    set_gate(0x40, kInterrupt64);
    store<u64>(kTss + 4, u64{1} << 47);  // what would be pushed is below it, where addresses are canonical
    expect_event_fault(external(0x40), SS_, 1);
    set_gate(0x40, kInterrupt64, kCode0, kHandler, 1);
    store<u64>(kTss + 36, u64{1} << 47);
    expect_event_fault(external(0x40), SS_, 1);
}

TEST_F(LongModeEvents, InterruptStackOfAnInnerLevelIsTakenInsteadOfTheLevelsOwn) {
    long_mode(3);
    set_gate(0x40, kInterrupt64, kCode0, kHandler, 1);
    store<u64>(kTss + 4, u64{1} << 47);
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(reg(RSP), (kIst1 & ~u64{15}) - 40);
    EXPECT_EQ(seg(SS).selector, 0);
    EXPECT_EQ(cpu().cpl(), 0u);
}

TEST_F(LongModeEvents, PageFaultDuringDeliveryChangesNothingButCr2) {
    long_mode(3);
    set_gate(0x40, kInterrupt64);
    store<u64>(kTss + 4, 0x400000);  // not mapped
    const CpuFile before = cpu();
    EXPECT_FALSE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(s().fault.vector, PF);
    EXPECT_EQ(cpu().control.cr2, 0x3ffff8u);
    EXPECT_EQ(differences(before, cpu(), Groups::General | Groups::Segments | Groups::Events), "");
    EXPECT_TRUE(s().user);
}

TEST_F(LongModeEvents, PageFaultWhileDeliveringAPageFaultIsADoubleFault) {
    long_mode(3);
    set_gate(PF, kInterrupt64);
    set_gate(DF, kInterrupt64, kCode0, kHandler + 8, 1);
    store<u64>(kTss + 4, 0x400000);
    s().raise(PF, 4);
    EXPECT_TRUE(deliver_fault(s(), kCode));
    EXPECT_EQ(cpu().general.rip, kHandler + 8);
}

TEST_F(LongModeEvents, IretqComesBackToRing3AndTakesInnerSegmentsAway) {
    long_mode();
    push_frame(kStack0, 0x5555, kCode3, rflags::IF | rflags::Fixed1, 0x7777, kData3);
    EXPECT_EQ(execute({0x48, 0xcf}), Flow::Jump);
    EXPECT_EQ(cpu().cpl(), 3u);
    EXPECT_TRUE(s().user);
    EXPECT_EQ(cpu().general.rip, 0x5555u);
    EXPECT_EQ(reg(RSP), 0x7777u);
    EXPECT_EQ(seg(DS).selector, 0);
    EXPECT_TRUE(seg(DS).has(Segment::Unusable));
    EXPECT_EQ(cpu().general.rflags, rflags::IF | rflags::Fixed1);
}

TEST_F(LongModeEvents, IretqThatTakesInnerSegmentsAwayKeepsTheBasesOfFsAndGs) {
    long_mode();
    push_frame(kStack0, 0x5555, kCode3, rflags::Fixed1, 0x7777, kData3);
    seg(FS).base = 0x1234;
    seg(GS).base = 0x5678;
    EXPECT_EQ(execute({0x48, 0xcf}), Flow::Jump);
    EXPECT_EQ(seg(FS).selector, 0);
    EXPECT_EQ(seg(GS).selector, 0);
    EXPECT_EQ(seg(FS).base, 0x1234u);
    EXPECT_EQ(seg(GS).base, 0x5678u);
}

TEST_F(LongModeEvents, IretqPopsTheStackAtTheSameLevelToo) {
    long_mode();
    push_frame(kStack0, 0x5555, kCode0, rflags::Fixed1, 0x7777, 0);
    EXPECT_EQ(execute({0x48, 0xcf}), Flow::Jump);
    EXPECT_EQ(reg(RSP), 0x7777u);
    EXPECT_EQ(seg(SS).selector, 0);
    EXPECT_EQ(cpu().cpl(), 0u);
}

TEST_F(LongModeEvents, IretqFaults) {
    long_mode();
    push_frame(kStack0, 0x5555, kCode3, rflags::Fixed1, 0x7777, 0);
    expect_fault({0x48, 0xcf}, GP, 0);  // null SS for ring 3
    push_frame(kStack0, u64{1} << 47, kCode0, rflags::Fixed1, 0x7777, kData0);
    expect_fault({0x48, 0xcf}, GP, 0);
    push_frame(kStack0, 0x5555, 0, rflags::Fixed1, 0x7777, kData0);
    expect_fault({0x48, 0xcf}, GP, 0);
    push_frame(kStack0, 0x5555, kCode3, rflags::Fixed1, 0x7777, kData0);
    expect_fault({0x48, 0xcf}, GP, kData0);
    cpu().general.rflags |= rflags::NT;
    expect_fault({0x48, 0xcf}, GP, 0);
}

TEST_F(LongModeEvents, IretqToCompatibilityMode) {
    long_mode();
    push_frame(kStack0, 0x5555, kCompatible3, rflags::Fixed1, 0x7777, kData3);
    EXPECT_EQ(execute({0x48, 0xcf}), Flow::Jump);
    EXPECT_EQ(cpu().mode(), CpuMode::Compatibility32);
}

TEST_F(LongModeEvents, InterruptFromCompatibilityModeEnters64BitCode) {
    long_mode(3);
    seg(CS).access = (seg(CS).access & ~Segment::L) | Segment::DB;
    set_gate(0x40, kInterrupt64);
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(cpu().mode(), CpuMode::Long64);
    EXPECT_EQ(reg(RSP), kStack0 - 40);
}

}  // namespace
}  // namespace dualvm::interp
