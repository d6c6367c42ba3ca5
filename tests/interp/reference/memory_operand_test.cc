// Memory operands with 16-bit addresses, and forms that belong to the system side.
#include <gtest/gtest.h>

#include "mode_test.h"

namespace dualvm::interp {
namespace {

using MemoryOperand = ModeTest;

TEST_F(MemoryOperand, BitOffsetsWrapAt64KiB) {
    cpu_.gpr(RBX) = 0;
    cpu_.gpr(RAX) = 0xffff;  // -1: bit 15 of the word below
    cpu_.poke(0xfffe, 0, 2);
    EXPECT_EQ(run({0x0f, 0xab, 0x07}), Flow::Next);  // BTS [BX], AX
    EXPECT_EQ(cpu_.peek(0xfffe, 2), 0x8000u);
    EXPECT_EQ(cpu_.rflags() & rflags::CF, 0u);
}
TEST_F(MemoryOperand, ImmediateBitOffsetsStayInTheOperand) {
    cpu_.gpr(RBX) = 0x1000;
    EXPECT_EQ(run({0x0f, 0xba, 0x2f, 0x13}), Flow::Next);  // BTS word [BX], 19: bit 3
    EXPECT_EQ(cpu_.peek(0x1000, 4), 8u);
}
TEST_F(MemoryOperand, XlatWrapsAt64KiB) {
    cpu_.gpr(RBX) = 0xfff0;
    cpu_.gpr(RAX) = 0x20;
    cpu_.poke(0x10, 0x5c, 1);
    EXPECT_EQ(run({0xd7}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RAX), 0x5cu);
}
TEST_F(MemoryOperand, LeaOfA16BitAddressIsZeroExtended) {
    cpu_.gpr(RBX) = 0xfff0;
    cpu_.gpr(RSI) = 0x20;
    cpu_.gpr(RAX) = 0xffffffff;
    EXPECT_EQ(run({0x66, 0x8d, 0x00}), Flow::Next);  // LEA EAX, [BX+SI]
    EXPECT_EQ(cpu_.gpr(RAX), 0x10u);
}
TEST_F(MemoryOperand, BpAddressesTheStackSegment) {
    cpu_.segment(SS).base = 0x10000;
    cpu_.poke(0x10100, 0x1234, 2);
    cpu_.gpr(RBP) = 0x100;
    EXPECT_EQ(run({0x8b, 0x46, 0x00}), Flow::Next);  // MOV AX, [BP]
    EXPECT_EQ(cpu_.gpr(RAX), 0x1234u);
    cpu_.gpr(RBP) = 0xffff;
    expect_fault_without_effect({0x8b, 0x46, 0x00}, SS_);
}
TEST_F(MemoryOperand, MoffsTakesAnOverride) {
    cpu_.segment(GS).base = 0x20000;
    cpu_.poke(0x20010, 0x77, 1);
    EXPECT_EQ(run({0x65, 0xa0, 0x10, 0x00}), Flow::Next);  // MOV AL, GS:[10h]
    EXPECT_EQ(cpu_.gpr(RAX), 0x77u);
}
TEST_F(MemoryOperand, CompareExchangeOfEightBytesIsCheckedAsAWhole) {
    cpu_.gpr(RBX) = 0xfffc;
    expect_fault_without_effect({0x0f, 0xc7, 0x0f}, GP);  // CMPXCHG8B [BX]
}
TEST_F(MemoryOperand, SixteenBitBswapGivesZero) {
    cpu_.gpr(RAX) = 0x12345678;
    EXPECT_EQ(run({0x0f, 0xc8}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RAX), 0x12340000u);
}
TEST_F(MemoryOperand, MovPushAndPopReachSegmentRegisters) {
    cpu_.gpr(RSP) = 0x8000;
    cpu_.gpr(RAX) = 0x1234;
    EXPECT_NE(run({0x8e, 0xd8}), Flow::Fault);  // MOV DS, AX
    EXPECT_EQ(cpu_.segment(DS).base, 0x12340u);
    EXPECT_EQ(run({0x1e}), Flow::Next);   // PUSH DS
    EXPECT_NE(run({0x07}), Flow::Fault);  // POP ES
    EXPECT_EQ(cpu_.segment(ES).selector, 0x1234u);
}

}  // namespace
}  // namespace dualvm::interp
