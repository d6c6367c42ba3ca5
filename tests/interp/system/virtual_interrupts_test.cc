// Virtual-8086 mode extensions and protected-mode virtual interrupts (SDM vol. 3A, 20.3, 20.4).
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

constexpr u64 kProgram = 0x500, kProgramStack = 0x600;  // segment 0
constexpr u16 kMapBase = 0x68 + 32;

class VirtualInterrupts : public SystemTest {
protected:
    void enter(u64 flags) {
        protected_mode();
        cpu().control.cr4 |= cr4::VME | cr4::PVI;
        store<u16>(kTss + 0x66, kMapBase);
        cpu().segments.tr.limit = kMapBase + 0x20;
        cpu().general.rflags = flags | rflags::Fixed1;
    }
    // A virtual-8086 program with IOPL 0.
    void enter_8086(u64 flags = 0) {
        enter(flags | rflags::VM);
        for (Segment& segment : cpu().segments.seg) segment = virtual8086_segment(0);
        cpu().general.rip = kProgram;
        reg(RSP) = kProgramStack;
        privilege_changed(s());
    }
    void let_monitor_handle(u8 vector) {
        store<u8>(kTss + kMapBase - 32 + vector / 8, static_cast<u8>(1u << vector % 8));
    }
    bool flag(u64 mask) { return (cpu().general.rflags & mask) == mask; }
};

TEST_F(VirtualInterrupts, CliAndStiActOnVif) {
    enter_8086(rflags::IF);
    EXPECT_NE(execute({0xfb}), Flow::Fault);
    EXPECT_TRUE(flag(rflags::VIF | rflags::IF));
    EXPECT_NE(execute({0xfa}), Flow::Fault);
    EXPECT_FALSE(flag(rflags::VIF));
    EXPECT_TRUE(flag(rflags::IF));
}

TEST_F(VirtualInterrupts, StiWithAnInterruptWaitingGoesToTheMonitor) {
    enter_8086(rflags::VIP);
    expect_fault({0xfb}, GP);
}

TEST_F(VirtualInterrupts, WithoutVmeAllIsTheMonitors) {
    enter_8086();
    cpu().control.cr4 = 0;
    for (u8 opcode : std::initializer_list<u8>{0xfa, 0xfb, 0x9c, 0x9d, 0xcf}) expect_fault({opcode}, GP);
    expect_fault({0xcd, 0x21}, GP);
}

TEST_F(VirtualInterrupts, PviDoesTheSameForRing3) {
    enter(rflags::IF);
    set_level(3);
    EXPECT_NE(execute({0xfb}), Flow::Fault);
    EXPECT_TRUE(flag(rflags::VIF | rflags::IF));
    EXPECT_NE(execute({0xfa}), Flow::Fault);
    EXPECT_FALSE(flag(rflags::VIF));
    cpu().control.cr4 = cr4::VME;
    expect_fault({0xfa}, GP);
}

TEST_F(VirtualInterrupts, PushedFlagsShowVifAndIopl3) {
    enter_8086(rflags::IF | rflags::CF);
    EXPECT_EQ(execute({0x9c}), Flow::Next);
    EXPECT_EQ(load<u16>(kProgramStack - 2), rflags::IOPL | rflags::CF | rflags::Fixed1);
    cpu().general.rflags |= rflags::VIF;
    EXPECT_EQ(execute({0x9c}), Flow::Next);
    EXPECT_EQ(load<u16>(kProgramStack - 4), rflags::IOPL | rflags::IF | rflags::CF | rflags::Fixed1);
    expect_fault({0x66, 0x9c}, GP);
}

TEST_F(VirtualInterrupts, PoppedIfGoesToVif) {
    enter_8086();
    store<u16>(kProgramStack, static_cast<u16>(rflags::IF | rflags::IOPL | rflags::ZF));
    EXPECT_NE(execute({0x9d}), Flow::Fault);
    EXPECT_TRUE(flag(rflags::VIF | rflags::ZF | rflags::VM));
    EXPECT_EQ(cpu().general.rflags & (rflags::IF | rflags::IOPL), 0u);
    EXPECT_EQ(reg(RSP), kProgramStack + 2);
}

TEST_F(VirtualInterrupts, PopOfTrapFlagOrOfIfWithAnInterruptWaitingFaults) {
    enter_8086(rflags::VIP);
    store<u16>(kProgramStack, static_cast<u16>(rflags::IF));
    expect_fault({0x9d}, GP);
    store<u16>(kProgramStack, static_cast<u16>(rflags::TF));
    expect_fault({0x9d}, GP);
}

TEST_F(VirtualInterrupts, IretLoadsVif) {
    enter_8086();
    store<u16>(kProgramStack, 0x123);
    store<u16>(kProgramStack + 2, 0x40);
    store<u16>(kProgramStack + 4, static_cast<u16>(rflags::IF));
    EXPECT_EQ(execute({0xcf}), Flow::Jump);
    EXPECT_TRUE(flag(rflags::VIF));
    EXPECT_FALSE(flag(rflags::IF));
    EXPECT_EQ(cpu().general.rip, 0x123u);
    EXPECT_EQ(seg(CS).base, 0x400u);
    cpu().general.rflags |= rflags::VIP;
    reg(RSP) = kProgramStack;
    expect_fault({0xcf}, GP);
    expect_fault({0x66, 0xcf}, GP);
}

TEST_F(VirtualInterrupts, InterruptIsRedirectedToTheProgramsHandler) {
    enter_8086(rflags::IF | rflags::VIF);
    store<u16>(0x21 * 4, 0x456);
    store<u16>(0x21 * 4 + 2, 0x50);
    EXPECT_EQ(execute({0xcd, 0x21}), Flow::Jump);
    EXPECT_EQ(cpu().general.rip, 0x456u);
    EXPECT_EQ(seg(CS).base, 0x500u);
    EXPECT_EQ(load<u16>(kProgramStack - 6), kProgram + 2);
    EXPECT_EQ(load<u16>(kProgramStack - 4), 0u);
    EXPECT_EQ(load<u16>(kProgramStack - 2), rflags::IF | rflags::IOPL | rflags::Fixed1);
    EXPECT_FALSE(flag(rflags::VIF));
    EXPECT_TRUE(flag(rflags::IF | rflags::VM));
}

TEST_F(VirtualInterrupts, RedirectionAtIopl3ClearsIfItself) {
    enter_8086(rflags::IF | rflags::VIF | rflags::IOPL);
    EXPECT_EQ(execute({0xcd, 0x21}), Flow::Jump);
    EXPECT_EQ(load<u16>(kProgramStack - 2), rflags::IF | rflags::IOPL | rflags::Fixed1);
    EXPECT_TRUE(flag(rflags::VIF));
    EXPECT_FALSE(flag(rflags::IF));
}

TEST_F(VirtualInterrupts, SetBitSendsInterruptToTheMonitor) {
    enter_8086();
    let_monitor_handle(0x21);
    expect_fault({0xcd, 0x21}, GP);
    cpu().general.rflags |= rflags::IOPL;
    set_gate(0x21, 0xee);
    EXPECT_EQ(execute({0xcd, 0x21}), Flow::Jump);
    EXPECT_EQ(cpu().general.rip, kHandler);
    EXPECT_FALSE(flag(rflags::VM));
}

TEST_F(VirtualInterrupts, BitmapBeyondTheTssFaults) {
    enter_8086();
    store<u16>(kTss + 0x66, 0x2000);
    expect_fault({0xcd, 0x21}, GP);
}

}  // namespace
}  // namespace dualvm::interp
