// Event delivery in real, virtual-8086 and 32-bit protected mode.
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

constexpr u64 kInterrupt32 = 0x8e, kTrap32 = 0x8f, kTrap32User = 0xef, kInterrupt16 = 0x86;

class Events : public SystemTest {
protected:
    Event external(u8 vector) { return {.kind = EventKind::External, .vector = vector, .return_rip = kCode}; }
    Event exception(u8 vector, u32 error) {
        return {.kind = EventKind::Exception,
                .vector = vector,
                .has_error_code = true,
                .error_code = error,
                .return_rip = kCode};
    }
    void virtual8086_mode() {
        protected_mode(0);
        for (Segment& segment : cpu().segments.seg) segment = virtual8086_segment(0x200);
        seg(ES) = virtual8086_segment(0x111);
        seg(GS) = virtual8086_segment(0x444);
        cpu().general.rflags |= rflags::VM;
        reg(RSP) = 0x1000;
        privilege_changed(s());
    }
};

TEST_F(Events, RealModePushesFlagsCsIpAndJumpsThroughTheVectorTable) {
    store<u32>(0x21 * 4, 0x07001234);
    cpu().general.rflags |= rflags::IF | rflags::TF | rflags::CF;
    seg(CS).selector = 0x55;
    EXPECT_EQ(execute({0xcd, 0x21}), Flow::Jump);  // INT 21h
    EXPECT_EQ(seg(CS).base, 0x7000u);
    EXPECT_EQ(cpu().general.rip, 0x1234u);
    EXPECT_EQ(reg(RSP), kStack0 - 6);
    EXPECT_EQ(load<u16>(kStack0 - 6), kCode + 2);
    EXPECT_EQ(load<u16>(kStack0 - 4), 0x55);
    EXPECT_EQ(load<u16>(kStack0 - 2), rflags::IF | rflags::TF | rflags::CF | rflags::Fixed1);
    EXPECT_EQ(cpu().general.rflags, rflags::CF | rflags::Fixed1);
}

TEST_F(Events, RealModeExceptionsPushNoErrorCode) {
    store<u32>(GP * 4, 0x07001234);
    EXPECT_TRUE(deliver_event(s(), exception(GP, 0)));
    EXPECT_EQ(reg(RSP), kStack0 - 6);
}

TEST_F(Events, RealModeBeyondTheVectorTableShutsDown) {
    cpu().segments.idtr.limit = 3;
    s().raise(GP, 0);
    EXPECT_FALSE(deliver_fault(s(), kCode));
}

TEST_F(Events, SameLevelInterruptGate) {
    protected_mode();
    set_gate(0x40, kInterrupt32);
    cpu().general.rflags |= rflags::IF | rflags::TF | rflags::NT;
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(cpu().general.rip, kHandler);
    EXPECT_EQ(reg(RSP), kStack0 - 12);
    EXPECT_EQ(load32(kStack0 - 12), kCode);
    EXPECT_EQ(load32(kStack0 - 8), kCode0);
    EXPECT_EQ(load32(kStack0 - 4), rflags::IF | rflags::TF | rflags::NT | rflags::Fixed1);
    EXPECT_EQ(cpu().general.rflags, rflags::Fixed1);
}

TEST_F(Events, TrapGateLeavesTheInterruptFlag) {
    protected_mode();
    set_gate(0x40, kTrap32);
    cpu().general.rflags |= rflags::IF;
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(cpu().general.rflags, rflags::IF | rflags::Fixed1);
}

TEST_F(Events, SixteenBitGatePushesWords) {
    protected_mode();
    set_gate(0x40, kInterrupt16);
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(reg(RSP), kStack0 - 6);
    EXPECT_EQ(cpu().general.rip, kHandler);
}

TEST_F(Events, UpperHalfOfA16BitGatesOffsetDoesNotCount) {
    protected_mode();
    set_gate(0x40, kInterrupt16, kCode0, 0xabc00000 | kHandler);
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(cpu().general.rip, kHandler);
}

TEST_F(Events, FromRing3ToTheStackOfTheTss) {
    protected_mode(3);
    set_gate(GP, kInterrupt32);
    EXPECT_TRUE(deliver_event(s(), exception(GP, 0x1234)));
    EXPECT_EQ(cpu().cpl(), 0u);
    EXPECT_FALSE(s().user);
    EXPECT_EQ(seg(SS).selector, kData0);
    EXPECT_EQ(reg(RSP), kStack0 - 24);
    EXPECT_EQ(load32(kStack0 - 24), 0x1234u);
    EXPECT_EQ(load32(kStack0 - 20), kCode);
    EXPECT_EQ(load32(kStack0 - 16), kCode3);
    EXPECT_EQ(load32(kStack0 - 8), kStack3);
    EXPECT_EQ(load32(kStack0 - 4), kData3);
}

TEST_F(Events, FaultsSaveTheResumeFlagAndDebugExceptionsDoNot) {
    protected_mode();
    set_gate(GP, kInterrupt32);
    set_gate(DB, kInterrupt32);
    EXPECT_TRUE(deliver_event(s(), exception(GP, 0)));
    EXPECT_EQ(load32(kStack0 - 4) & rflags::RF, rflags::RF);
    reg(RSP) = kStack0;
    EXPECT_TRUE(deliver_event(s(), {.vector = DB, .return_rip = kCode}));
    EXPECT_EQ(load32(kStack0 - 4) & rflags::RF, 0u);
}

TEST_F(Events, GateErrorsNameTheIdtEntry) {
    protected_mode();
    constexpr u32 kIdtBit = 2, kExt = 1;
    expect_event_fault(external(0x40), GP, 0x40 * 8 + kIdtBit + kExt);  // an empty entry is no gate
    set_gate(0x40, kInterrupt32 & 0x7f);                                // not present
    expect_event_fault(external(0x40), NP, 0x40 * 8 + kIdtBit + kExt);
    expect_fault({0xcd, 0x40}, NP, 0x40 * 8 + kIdtBit);  // INT 40h: EXT is clear
    cpu().segments.idtr.limit = 0x40 * 8 + 6;
    expect_event_fault(external(0x40), GP, 0x40 * 8 + kIdtBit + kExt);
}

TEST_F(Events, SoftwareInterruptsObeyTheGatesDpl) {
    protected_mode(3);
    set_gate(0x80, kTrap32);
    set_gate(BP, kTrap32);
    expect_fault({0xcd, 0x80}, GP, 0x80 * 8 + 2);
    expect_fault({0xcc}, GP, BP * 8 + 2);
    set_gate(0x80, kTrap32User);
    EXPECT_EQ(execute({0xcd, 0x80}), Flow::Jump);
}

TEST_F(Events, HardwareEventsIgnoreTheGatesDpl) {
    protected_mode(3);
    set_gate(DB, kTrap32);
    EXPECT_EQ(execute({0xf1}), Flow::Jump);  // INT1
    EXPECT_EQ(cpu().cpl(), 0u);
}

TEST_F(Events, HandlerSegmentErrorsNameTheSelector) {
    protected_mode(0);
    set_gate(0x40, kInterrupt32, 0);
    expect_event_fault(external(0x40), GP, 1);
    set_gate(0x40, kInterrupt32, kData0);
    expect_event_fault(external(0x40), GP, kData0 + 1);
    set_gate(0x40, kInterrupt32, kCode3);  // an outer level
    expect_event_fault(external(0x40), GP, (kCode3 & ~3) + 1);
    set_gate(0x40, kInterrupt32, kBeyond);
    expect_event_fault(external(0x40), GP, kBeyond + 1);
}

TEST_F(Events, HandlerBeyondItsSegmentsLimit) {
    protected_mode(0);
    set_gate(0x40, kInterrupt32, kCode16, 0x12345);
    expect_event_fault(external(0x40), GP, 1);
}

TEST_F(Events, BadInnerStackIsATssFault) {
    protected_mode(3);
    set_gate(0x40, kInterrupt32);
    store<u32>(kTss + 8, kReadOnly);
    expect_event_fault(external(0x40), TS, kReadOnly + 1);
    store<u32>(kTss + 8, kAbsent);
    expect_event_fault(external(0x40), SS_, kAbsent + 1);
    store<u32>(kTss + 8, 0);
    expect_event_fault(external(0x40), TS, 1);
    cpu().segments.tr.limit = 4;
    expect_event_fault(external(0x40), TS, kTask + 1);
}

TEST_F(Events, StackFaultOfTheNewStackNamesIt) {
    protected_mode(3);
    set_gate(0x40, kInterrupt32);
    store(kGdt + kData0, descriptor(0, 0xfff, 0x492));  // too small for kStack0
    expect_event_fault(external(0x40), SS_, kData0 + 1);
}

TEST_F(Events, StackFaultOfTheOldStackHasNoSelector) {
    protected_mode(0);
    set_gate(0x40, kInterrupt32);
    seg(SS).limit = 0xfff;
    expect_event_fault(external(0x40), SS_, 1);
}

TEST_F(Events, ContributoryFaultsMakeADoubleFault) {
    protected_mode();
    set_gate(DF, kInterrupt32);
    s().raise(GP, 0x20);  // whose gate is missing: #GP again
    EXPECT_TRUE(deliver_fault(s(), kCode));
    EXPECT_EQ(cpu().general.rip, kHandler);
    EXPECT_EQ(load32(kStack0 - 16), 0u);  // error code of #DF
}

TEST_F(Events, BenignFaultsAreHandledOneAfterTheOther) {
    protected_mode();
    set_gate(GP, kInterrupt32);
    s().raise(UD);  // its gate is missing
    EXPECT_TRUE(deliver_fault(s(), kCode));
    EXPECT_EQ(load32(kStack0 - 16), UD * 8u + 3);
    EXPECT_EQ(load32(kStack0 - 12), kCode);
}

TEST_F(Events, NoDoubleFaultHandlerIsShutdown) {
    protected_mode();
    s().raise(GP, 0);
    const CpuFile before = cpu();
    EXPECT_FALSE(deliver_fault(s(), kCode));
    EXPECT_EQ(differences(before, cpu(), Groups::All), "");
}

TEST_F(Events, NmiIsMaskedUntilIret) {
    protected_mode();
    set_gate(NMI, kInterrupt32);
    EXPECT_TRUE(deliver_event(s(), {.kind = EventKind::Nmi, .vector = NMI, .return_rip = kCode}));
    EXPECT_TRUE(cpu().events.nmi_masked);
    EXPECT_EQ(execute({0xcf}), Flow::Jump);
    EXPECT_FALSE(cpu().events.nmi_masked);
    EXPECT_EQ(cpu().general.rip, kCode);
}

TEST_F(Events, VirtualModeIsLeftWithAllSegmentsOnTheStack) {
    virtual8086_mode();
    set_gate(0x40, kInterrupt32);
    EXPECT_TRUE(deliver_event(s(), external(0x40)));
    EXPECT_EQ(cpu().cpl(), 0u);
    EXPECT_EQ(cpu().general.rflags & rflags::VM, 0u);
    EXPECT_EQ(reg(RSP), kStack0 - 36);
    EXPECT_EQ(load32(kStack0 - 4), 0x444u);   // GS first
    EXPECT_EQ(load32(kStack0 - 16), 0x111u);  // ES last
    EXPECT_EQ(load32(kStack0 - 20), 0x200u);  // SS
    EXPECT_EQ(load32(kStack0 - 28) & rflags::VM, rflags::VM);
    for (const SegmentName name : {ES, DS, FS, GS}) EXPECT_TRUE(seg(name).has(Segment::Unusable));
}

TEST_F(Events, VirtualModeSoftwareInterruptsNeedIopl3) {
    virtual8086_mode();
    set_gate(0x40, kTrap32User);
    set_gate(BP, kTrap32User);
    expect_fault({0xcd, 0x40}, GP, 0);
    cpu().general.rflags |= rflags::IOPL;
    EXPECT_EQ(execute({0xcd, 0x40}), Flow::Jump);
    virtual8086_mode();
    cpu().general.rflags &= ~rflags::IOPL;
    EXPECT_EQ(execute({0xcc}), Flow::Jump);  // INT3 does not ask IOPL
}

TEST_F(Events, VirtualModeGoesToLevelZeroOnly) {
    virtual8086_mode();
    set_gate(0x40, kInterrupt32, kConforming);
    expect_event_fault(external(0x40), GP, kConforming + 1);
}

TEST_F(Events, IntoTrapsOnOverflowOnly) {
    protected_mode();
    set_gate(OF, kTrap32);
    EXPECT_EQ(execute({0xce}), Flow::Next);
    cpu().general.rflags |= rflags::OF;
    EXPECT_EQ(execute({0xce}), Flow::Jump);
    EXPECT_EQ(cpu().general.rip, kHandler);
}

}  // namespace
}  // namespace dualvm::interp
