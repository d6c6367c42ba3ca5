// What the instruction catalogue calls an instruction.
#include "dualvm/study/catalogue.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace dualvm::study {

namespace {

constexpr CodeMode k16 = CodeMode::Bits16, k32 = CodeMode::Bits32, k64 = CodeMode::Bits64;

std::string key(CodeMode mode, std::initializer_list<u8> bytes) {
    static const FormNames names(CpuModel::standard());
    return names.key(mode, std::vector<u8>(bytes)).value_or("none");
}

TEST(FormNames, ModRmOperandIsMemoryOrRegister) {
    EXPECT_EQ(key(k32, {0x01, 0x00}), "32/add/m32, r32");
    EXPECT_EQ(key(k32, {0x01, 0xc0}), "32/add/r32, r32");
    EXPECT_EQ(key(k64, {0x48, 0x83, 0x00, 5}), "64/add/m64, imm8");
}

TEST(FormNames, OperandSizeComesFromModeAndPrefix) {
    EXPECT_EQ(key(k16, {0x40}), "16/inc/r16");
    EXPECT_EQ(key(k16, {0x66, 0x40}), "16/inc/r32");
    EXPECT_EQ(key(k32, {0x66, 0x40}), "32/inc/r16");
}

TEST(FormNames, RegistersThatTheOpcodeImpliesAreNamed) {
    EXPECT_EQ(key(k64, {0x04, 1}), "64/add/AL, imm8");
    EXPECT_EQ(key(k64, {0xd1, 0xe0}), "64/shl/r32, 1");
    EXPECT_EQ(key(k64, {0xd3, 0xe0}), "64/shl/r32, CL");
    EXPECT_EQ(key(k64, {0x0f, 0xa0}), "64/push/FS");
    EXPECT_EQ(key(k64, {0xd8, 0xc1}), "64/fadd/ST(0), ST(i)");
}

TEST(FormNames, MemoryIsSpelledForWhatLiesThere) {
    EXPECT_EQ(key(k64, {0xd9, 0x00}), "64/fld/m32fp");
    EXPECT_EQ(key(k64, {0xdb, 0x00}), "64/fild/m32int");
    EXPECT_EQ(key(k64, {0xdf, 0x20}), "64/fbld/m80bcd");
    EXPECT_EQ(key(k64, {0xd9, 0x20}), "64/fldenv/m28byte");
    EXPECT_EQ(key(k32, {0x0f, 0x01, 0x10}), "32/lgdt/m16&32");
    EXPECT_EQ(key(k32, {0xff, 0x18}), "32/call/m16:32");
    EXPECT_EQ(key(k32, {0x62, 0x00}), "32/bound/r32, m32&32");
    EXPECT_EQ(key(k64, {0x8d, 0x00}), "64/lea/r32, m");
    EXPECT_EQ(key(k32, {0xa1, 0, 0, 0, 0}), "32/mov/EAX, moffs32");
}

TEST(FormNames, TargetsAreRelativeOrFar) {
    EXPECT_EQ(key(k64, {0xeb, 0}), "64/jmp/rel8");
    EXPECT_EQ(key(k32, {0xea, 0, 0, 0, 0, 0, 0}), "32/jmp/ptr16:32");
}

TEST(FormNames, StringAndSseInstructionsOfOneNameAreTwoForms) {
    EXPECT_EQ(key(k64, {0xa5}), "64/movsd/");
    EXPECT_EQ(key(k64, {0xf2, 0x0f, 0x10, 0x00}), "64/movsd/xmm, m64");
}

TEST(FormNames, WithoutBmi1TzcntIsBsf) { EXPECT_EQ(key(k64, {0xf3, 0x0f, 0xbc, 0xc0}), "64/bsf/r32, r32"); }

TEST(FormNames, BytesThatBeginNoInstructionHaveNoName) {
    EXPECT_EQ(key(k64, {0x06}), "none");
    EXPECT_EQ(key(k64, {0x0f}), "none");
}

}  // namespace

}  // namespace dualvm::study
