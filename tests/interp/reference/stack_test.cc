// Stack instructions where the host cannot be asked: real mode, 16-bit stacks, limits, privilege levels.
#include <gtest/gtest.h>

#include "mode_test.h"

namespace dualvm::interp {
namespace {

using Stack = ModeTest;

TEST_F(Stack, PushWrapsSpAndKeepsTheUpperHalf) {
    cpu_.gpr(RSP) = 0x12340000;
    cpu_.gpr(RAX) = 0xbeef;
    EXPECT_EQ(run({0x50}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RSP), 0x1234fffeu);
    EXPECT_EQ(cpu_.peek(0xfffe, 2), 0xbeefu);
}
TEST_F(Stack, PushAcrossTheLimitIsStackFault) {
    cpu_.gpr(RSP) = 1;
    expect_fault_without_effect({0x50}, SS_);
}
TEST_F(Stack, PushSpPushesTheOldValue) {
    cpu_.gpr(RSP) = 0x1000;
    EXPECT_EQ(run({0x54}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0xffe, 2), 0x1000u);
}
TEST_F(Stack, PopSpKeepsWhatWasPopped) {
    cpu_.gpr(RSP) = 0x1000;
    cpu_.poke(0x1000, 0x4321, 2);
    EXPECT_EQ(run({0x5c}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RSP), 0x4321u);
}
TEST_F(Stack, PushImmediateByteIsSignExtended) {
    cpu_.gpr(RSP) = 0x1000;
    EXPECT_EQ(run({0x6a, 0x80}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0xffe, 2), 0xff80u);
    EXPECT_EQ(run({0x66, 0x6a, 0x80}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0xffa, 4), 0xffffff80u);
}
TEST_F(Stack, PushAllStoresInOrderWithTheOldSp) {
    for (u64 i = 0; i < 8; ++i) cpu_.gpr(static_cast<unsigned>(i)) = 0x1110 + i;
    cpu_.gpr(RSP) = 0x1000;
    EXPECT_EQ(run({0x60}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RSP), 0xff0u);
    for (u64 i = 0; i < 8; ++i) EXPECT_EQ(cpu_.peek(0xffe - 2 * i, 2), i == RSP ? 0x1000u : 0x1110 + i) << i;
}
TEST_F(Stack, PushAllOverTheLimitStoresNothing) {
    cpu_.gpr(RSP) = 7;  // the fourth word would lie at FFFFh
    cpu_.gpr(RAX) = 0x1111;
    expect_fault_without_effect({0x60}, SS_);
    EXPECT_EQ(cpu_.peek(5, 2), 0u);
}
TEST_F(Stack, PopAllSkipsTheStoredSp) {
    cpu_.gpr(RSP) = 0x1000;
    for (u64 i = 0; i < 8; ++i) cpu_.poke(0x1000 + 2 * i, 0x2220 + i, 2);
    EXPECT_EQ(run({0x61}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RDI), 0x2220u);
    EXPECT_EQ(cpu_.gpr(RBX), 0x2224u);
    EXPECT_EQ(cpu_.gpr(RAX), 0x2227u);
    EXPECT_EQ(cpu_.gpr(RSP), 0x1010u);
}
TEST_F(Stack, PopAllOverTheLimitLoadsNothing) {
    cpu_.gpr(RSP) = 0xfffb;  // the third word would lie at FFFFh
    expect_fault_without_effect({0x61}, SS_);
}
TEST_F(Stack, PopToMemoryThatFaultsKeepsSp) {
    cpu_.gpr(RSP) = 0x1000;
    cpu_.gpr(RBX) = 0xffff;
    expect_fault_without_effect({0x8f, 0x07}, GP);  // POP word [BX]
}
TEST_F(Stack, EnterCopiesTheDisplayOfEnclosingFrames) {
    cpu_.gpr(RSP) = 0x1000;
    cpu_.gpr(RBP) = 0x2000;
    cpu_.poke(0x1ffe, 0xaaaa, 2);
    cpu_.poke(0x1ffc, 0xbbbb, 2);
    EXPECT_EQ(run({0xc8, 0x10, 0x00, 3}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0xffe, 2), 0x2000u);  // the caller's BP
    EXPECT_EQ(cpu_.peek(0xffc, 2), 0xaaaau);
    EXPECT_EQ(cpu_.peek(0xffa, 2), 0xbbbbu);
    EXPECT_EQ(cpu_.peek(0xff8, 2), 0xffeu);  // the new frame
    EXPECT_EQ(cpu_.gpr(RBP), 0xffeu);
    EXPECT_EQ(cpu_.gpr(RSP), 0xff8u - 0x10);
}
TEST_F(Stack, EnterWithLocalsBeyondTheLimitFaults) {
    cpu_.segment(SS).limit = 0xfff;
    cpu_.gpr(RSP) = 0x800;
    expect_fault_without_effect({0xc8, 0x00, 0x10, 0}, SS_);
}
TEST_F(Stack, LeaveOnA16BitStackTakesBpAndPopsEbp) {
    cpu_.enter_protected_mode(32);
    cpu_.segment(SS).access &= ~Segment::DB;
    cpu_.gpr(RSP) = 0x55550000;
    cpu_.gpr(RBP) = 0x77771000;
    cpu_.poke(0x1000, 0x12345678, 4);
    EXPECT_EQ(run({0xc9}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RBP), 0x12345678u);
    EXPECT_EQ(cpu_.gpr(RSP) & 0xffffffff, 0x55551004u);
}

// --- PUSHF and POPF
// ---------------------------------------------------------------------------------------------------

class Flags : public ModeTest {
protected:
    // POPFD of `image` at `cpl`, with IOPL and nothing else set before.
    u64 popfd(u32 cpl, u64 iopl, u64 image) {
        cpu_.enter_protected_mode(32);
        cpu_.set_flat_segments(cpl, Segment::DB);
        privilege_changed(cpu_.state());
        cpu_.rflags() = rflags::Fixed1 | iopl << 12;
        cpu_.gpr(RSP) = 0x1000;
        cpu_.poke(0x1000, image, 4);
        EXPECT_EQ(run({0x9d}), Flow::Jump);
        return cpu_.rflags();
    }
    static constexpr u64 kAlways = rflags::Arithmetic | rflags::TF | rflags::DF | rflags::NT | rflags::AC | rflags::ID;
};

TEST_F(Flags, PopAtCpl0ChangesIoplAndIf) {
    EXPECT_EQ(popfd(0, 0, 0xffffffff), rflags::Fixed1 | kAlways | rflags::IOPL | rflags::IF);
}
TEST_F(Flags, PopAtCpl3KeepsIoplAndIf) { EXPECT_EQ(popfd(3, 0, 0xffffffff), rflags::Fixed1 | kAlways); }
TEST_F(Flags, PopAtCpl3WithIopl3ChangesIf) {
    EXPECT_EQ(popfd(3, 3, 0xffffcfff), rflags::Fixed1 | kAlways | rflags::IOPL | rflags::IF);
}
TEST_F(Flags, PopOf16BitsKeepsTheUpperHalf) {
    cpu_.rflags() = rflags::Fixed1 | rflags::AC | rflags::ID;
    cpu_.gpr(RSP) = 0x1000;
    cpu_.poke(0x1000, rflags::CF | rflags::IF, 2);
    EXPECT_EQ(run({0x9d}), Flow::Jump);
    EXPECT_EQ(cpu_.rflags(), rflags::Fixed1 | rflags::AC | rflags::ID | rflags::CF | rflags::IF);
}
TEST_F(Flags, PushShowsNeitherVmNorRf) {
    cpu_.enter_virtual8086(3);
    cpu_.rflags() |= rflags::RF | rflags::CF;
    cpu_.gpr(RSP) = 0x1000;
    EXPECT_EQ(run({0x66, 0x9c}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0xffc, 4), rflags::Fixed1 | rflags::CF | rflags::IOPL);
}
TEST_F(Flags, Virtual8086WantsIopl3) {
    cpu_.enter_virtual8086(2);
    cpu_.gpr(RSP) = 0x1000;
    expect_fault_without_effect({0x9c}, GP);
    expect_fault_without_effect({0x9d}, GP);
}
TEST_F(Flags, Virtual8086PopChangesIfButNotIopl) {
    cpu_.enter_virtual8086(3);
    cpu_.gpr(RSP) = 0x1000;
    cpu_.poke(0x1000, rflags::IF, 2);
    EXPECT_EQ(run({0x9d}), Flow::Jump);
    EXPECT_EQ(cpu_.rflags(), rflags::Fixed1 | rflags::VM | rflags::IOPL | rflags::IF);
}

}  // namespace
}  // namespace dualvm::interp
