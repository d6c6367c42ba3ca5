// Near branches where the host cannot be asked: code segment limits, 16-bit IP, targets that are not canonical.
#include <gtest/gtest.h>

#include "mode_test.h"

namespace dualvm::interp {
namespace {

class Branch : public ModeTest {
protected:
    // 32-bit code at 1000h in a segment that ends at 1FFFh.
    void enter_short_segment() {
        cpu_.enter_protected_mode(32);
        cpu_.segment(CS).limit = 0x1fff;
        cpu_.rip() = 0x1000;
        cpu_.gpr(RSP) = 0x8000;
    }
};

TEST_F(Branch, TargetsBeyondTheLimitFaultAtTheBranch) {
    enter_short_segment();
    expect_fault_without_effect({0xe9, 0xfb, 0x0f, 0, 0}, GP);  // JMP 2000h
    cpu_.gpr(RAX) = 0x2000;
    expect_fault_without_effect({0xff, 0xe0}, GP);  // JMP EAX
    cpu_.rflags() |= rflags::ZF;
    expect_fault_without_effect({0x0f, 0x84, 0xfa, 0x0f, 0, 0}, GP);  // JZ 2000h
}
TEST_F(Branch, UpToTheLimitIsAllowed) {
    enter_short_segment();
    EXPECT_EQ(run({0xe9, 0xfa, 0x0f, 0, 0}), Flow::Jump);
    EXPECT_EQ(cpu_.rip(), 0x1fffu);
}
TEST_F(Branch, NotTakenDoesNotLookAtTheTarget) {
    enter_short_segment();
    cpu_.rflags() &= ~rflags::ZF;
    EXPECT_EQ(run({0x0f, 0x84, 0xfa, 0x0f, 0, 0}), Flow::Next);
    EXPECT_EQ(cpu_.rip(), 0x1006u);
}
TEST_F(Branch, CallBeyondTheLimitPushesNothing) {
    enter_short_segment();
    cpu_.poke(0x7ffc, 0x55555555, 4);
    expect_fault_without_effect({0xe8, 0xfb, 0x0f, 0, 0}, GP);
    EXPECT_EQ(cpu_.peek(0x7ffc, 4), 0x55555555u);
}
TEST_F(Branch, ReturnBeyondTheLimitPopsNothing) {
    enter_short_segment();
    cpu_.poke(0x8000, 0x2000, 4);
    expect_fault_without_effect({0xc3}, GP);
    expect_fault_without_effect({0xc2, 8, 0}, GP);
}
TEST_F(Branch, LoopBeyondTheLimitDoesNotCount) {
    enter_short_segment();
    cpu_.rip() = 0x1ff0;
    cpu_.gpr(RCX) = 5;
    expect_fault_without_effect({0xe2, 0x20}, GP);
}
TEST_F(Branch, IpWrapsAt64KiBWith16BitOperands) {
    cpu_.rip() = 0xfff0;
    EXPECT_EQ(run({0xeb, 0x20}), Flow::Jump);
    EXPECT_EQ(cpu_.rip(), 0x12u);
}
TEST_F(Branch, OperandSizePrefixCutsEipTo16Bits) {
    cpu_.enter_protected_mode(32);
    cpu_.rip() = 0x123450;
    EXPECT_EQ(run({0x66, 0xe9, 0x10, 0x00}), Flow::Jump);
    EXPECT_EQ(cpu_.rip(), 0x3464u);
}
TEST_F(Branch, CallWith16BitOperandsPushesIp) {
    cpu_.rip() = 0x1000;
    cpu_.gpr(RSP) = 0x8000;
    EXPECT_EQ(run({0xe8, 0x10, 0x00}), Flow::Jump);
    EXPECT_EQ(cpu_.rip(), 0x1013u);
    EXPECT_EQ(cpu_.gpr(RSP), 0x7ffeu);
    EXPECT_EQ(cpu_.peek(0x7ffe, 2), 0x1003u);
}
TEST_F(Branch, ReturnWithImmediateWrapsA16BitStackPointer) {
    cpu_.gpr(RSP) = 0xabcdfff0;
    cpu_.poke(0xfff0, 0x1234, 2);
    EXPECT_EQ(run({0xc2, 0x20, 0x00}), Flow::Jump);
    EXPECT_EQ(cpu_.rip(), 0x1234u);
    EXPECT_EQ(cpu_.gpr(RSP), 0xabcd0012u);
}
TEST_F(Branch, LoopCountsInCxWith16BitAddresses) {
    cpu_.rip() = 0x1000;
    cpu_.gpr(RCX) = 0x50000;  // CX 0: wraps to FFFFh
    EXPECT_EQ(run({0xe2, 0x10}), Flow::Jump);
    EXPECT_EQ(cpu_.gpr(RCX), 0x5ffffu);
}
TEST_F(Branch, JcxzLooksAtCxAlone) {
    cpu_.rip() = 0x1000;
    cpu_.gpr(RCX) = 0x50000;
    EXPECT_EQ(run({0xe3, 0x10}), Flow::Jump);
    EXPECT_EQ(cpu_.rip(), 0x1012u);
    EXPECT_EQ(run({0x67, 0xe3, 0x10}), Flow::Next);  // JECXZ
}
TEST_F(Branch, TargetsThatAreNotCanonicalFault) {
    cpu_.enter_user_program(true);
    cpu_.rip() = 0x1000;
    cpu_.gpr(RAX) = 0x800000000000;
    cpu_.gpr(RSP) = 0x20001000;
    expect_fault_without_effect({0xff, 0xe0}, GP);
    expect_fault_without_effect({0xff, 0xd0}, GP);
    const u64 target = cpu_.gpr(RAX);
    ASSERT_TRUE(write_value(cpu_.state(), SS, cpu_.gpr(RSP), 8, target));
    expect_fault_without_effect({0xc3}, GP);
}

}  // namespace
}  // namespace dualvm::interp
