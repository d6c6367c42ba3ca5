#include "dualvm/study/disassembler.h"

#include <gtest/gtest.h>

#include <vector>

namespace dualvm::study {
namespace {

std::string text(CpuMode mode, std::vector<u8> bytes, Syntax syntax = Syntax::Intel, u64 address = 0x1000) {
    return Disassembler(syntax).line(mode, address, bytes).text;
}

TEST(Disassembler, TheSameBytesMeanSomethingElseInEachMode) {
    const std::vector<u8> code = {0x48, 0x89, 0xd8};
    EXPECT_EQ(text(CpuMode::Long64, code), "mov rax, rbx");
    EXPECT_EQ(text(CpuMode::Protected32, code), "dec eax");
    EXPECT_EQ(text(CpuMode::Compatibility32, code), "dec eax");
    EXPECT_EQ(text(CpuMode::Real, code), "dec ax");
}

TEST(Disassembler, BothSyntaxes) {
    EXPECT_EQ(text(CpuMode::Long64, {0x48, 0x8b, 0x44, 0x24, 0x08}), "mov rax, [rsp+0x8]");
    EXPECT_EQ(text(CpuMode::Long64, {0x48, 0x8b, 0x44, 0x24, 0x08}, Syntax::Att), "mov 0x8(%rsp), %rax");
}

TEST(Disassembler, BranchTargetsAreAddresses) {
    EXPECT_EQ(text(CpuMode::Long64, {0xeb, 0xfe}), "jmp 0x1000");
    EXPECT_EQ(text(CpuMode::Real, {0xeb, 0x10}, Syntax::Intel, 0xfff0), "jmp 0x2");  // wraps at 64 KiB
}

TEST(Disassembler, BytesThatAreNoInstructionAreOneByteLong) {
    const std::vector<u8> code = {0x06, 0x90};  // PUSH ES is invalid in 64-bit mode
    const Line line = Disassembler().line(CpuMode::Long64, 0, code);
    EXPECT_FALSE(line.valid);
    EXPECT_EQ(line.bytes.size(), 1u);
    EXPECT_EQ(line.text, "(bad)");
}

TEST(Disassembler, BytesThatEndTooEarlyAreSaidToBeCutOff) {
    const std::vector<u8> code = {0xb8, 0x01};
    const Line line = Disassembler().line(CpuMode::Long64, 0, code);
    EXPECT_FALSE(line.valid);
    EXPECT_EQ(line.bytes.size(), 2u);
    EXPECT_EQ(line.text, "(cut off)");
}

TEST(Disassembler, PrefixesBeyondFifteenBytesAreNoInstruction) {
    const Line line = Disassembler().line(CpuMode::Long64, 0, std::vector<u8>(40, 0x66));
    EXPECT_FALSE(line.valid);
    EXPECT_LE(line.bytes.size(), 15u);
}

TEST(Disassembler, ALineShowsAddressBytesAndInstruction) {
    const std::vector<u8> code = {0x0f, 0xa2};
    EXPECT_EQ(to_text(Disassembler().line(CpuMode::Long64, 0x100020, code)),
              "  100020  0f a2                          cpuid");
}

TEST(Disassembler, RexBIsNoBaseWhereSibHasNone) {
    const std::vector<u8> code = {0x4b, 0x8b, 0x04, 0x7d, 0x2e, 0, 0, 0};
    EXPECT_EQ(Disassembler().line(CpuMode::Long64, 0, code).text, "mov rax, [r15*2+0x2e]");
}

}  // namespace
}  // namespace dualvm::study
