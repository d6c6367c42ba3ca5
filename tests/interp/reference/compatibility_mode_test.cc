// The same in compatibility mode, with what 64-bit mode does not have: decimal arithmetic, PUSHA, BOUND, short INC.
#include "host_comparison.h"

namespace dualvm::interp {
namespace {

const Sizes kAll = {1, 2, 4}, kWords = {2, 4};

class AgainstHost32 : public HostComparison {
protected:
    AgainstHost32() : HostComparison(Bits::Mode32) {}

    // Every AL with every AF and CF, and some AH.
    void check_decimal(Bytes insn, ZydisMnemonic mnemonic, unsigned upper_values) {
        for (unsigned ah = 0; ah < upper_values; ++ah) {
            for (u64 i = 0; i < 256 * 4; ++i) {
                Trial trial;
                maker_.make_raw(std::vector<u8>(insn), trial);
                trial.mnemonic = mnemonic;
                trial.gpr[RAX] = (trial.gpr[RAX] & 0xffffff00) | (i & 0xff);
                trial.rflags &= ~(rflags::AF | rflags::CF);
                if ((i & 0x100) != 0) trial.rflags |= rflags::AF;
                if ((i & 0x200) != 0) trial.rflags |= rflags::CF;
                ASSERT_EQ(compare(cpu_, *host_, trial, bits_), "");
            }
        }
    }
};

TEST_F(AgainstHost32, DecimalAdjust) {
    check_decimal({0x27}, ZYDIS_MNEMONIC_DAA, 2);
    check_decimal({0x2f}, ZYDIS_MNEMONIC_DAS, 2);
}
TEST_F(AgainstHost32, AsciiAdjust) {
    check_decimal({0x37}, ZYDIS_MNEMONIC_AAA, 8);
    check_decimal({0x3f}, ZYDIS_MNEMONIC_AAS, 8);
}
TEST_F(AgainstHost32, AsciiMultiplyAndDivide) {
    for (u8 base : Bytes{0, 1, 10, 16, 0xff}) {
        check_decimal({0xd4, base}, ZYDIS_MNEMONIC_AAM, 1);
        check_decimal({0xd5, base}, ZYDIS_MNEMONIC_AAD, 1);
    }
}
TEST_F(AgainstHost32, SetAlFromCarry) { check_raw({0xd6}, 20); }

TEST_F(AgainstHost32, ShortIncrementAndDecrement) {
    for (u8 opcode = 0x40; opcode < 0x50; ++opcode) {
        if ((opcode & 7) == RSP) continue;
        check_raw({opcode}, 50);
        check_raw({0x66, opcode}, 50);
    }
}
TEST_F(AgainstHost32, AluShiftsAndMoves) {
    check_all({ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_SBB, ZYDIS_MNEMONIC_CMP, ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_MOV,
               ZYDIS_MNEMONIC_XCHG, ZYDIS_MNEMONIC_XADD, ZYDIS_MNEMONIC_CMPXCHG},
              {"rm r"}, kAll);
    check_all({ZYDIS_MNEMONIC_RCL, ZYDIS_MNEMONIC_SAR}, {"rm cl"}, kAll);
    check_all({ZYDIS_MNEMONIC_MUL, ZYDIS_MNEMONIC_IMUL, ZYDIS_MNEMONIC_DIV, ZYDIS_MNEMONIC_IDIV}, {"rm"}, kAll);
    check_all({ZYDIS_MNEMONIC_BTS}, {"m r", "rm i8"}, kWords);
    check({ZYDIS_MNEMONIC_LEA, "r m", kWords});
    check({ZYDIS_MNEMONIC_CMPXCHG8B, "m8", {8}}, 1000);
}
// Away from the window's edges: where CPUs leave the work half done before a fault, the reference has done none of it.
TEST_F(AgainstHost32, PushAllAndPopAll) {
    const auto inside = [&](Trial& t) { t.gpr[RSP] = kWindow + 64 + maker_.below(kWritablePages * kPageSize - 128); };
    for (u8 opcode : Bytes{0x60, 0x61}) {
        check_raw({opcode}, 200, inside);
        check_raw({0x66, opcode}, 200, inside);
    }
}
TEST_F(AgainstHost32, PushAndPop) {
    const auto anywhere = [&](Trial& t) { t.gpr[RSP] = maker_.window_address(); };
    for (u8 reg = 0; reg < 8; ++reg) {
        check_raw({static_cast<u8>(0x50 + reg)}, 60, anywhere);
        check_raw({0x66, static_cast<u8>(0x50 + reg)}, 60, anywhere);
        if (reg == RSP) continue;
        check_raw({static_cast<u8>(0x58 + reg)}, 60, anywhere);
        check_raw({0x66, static_cast<u8>(0x58 + reg)}, 60, anywhere);
    }
    check_raw({0x8f, 0x44, 0x24, 0xfc}, 200, anywhere);  // POP [ESP-4]
    check_raw({0x9c}, 100, anywhere);
    check_raw({0x66, 0x9c}, 100, anywhere);
}
TEST_F(AgainstHost32, EnterAndLeave) {
    const auto frames = [&](Trial& t) {
        t.gpr[RSP] = maker_.window_address();
        t.gpr[RBP] = maker_.window_address();
    };
    for (u8 level : Bytes{0, 1, 3, 31}) {
        check_raw({0xc8, 0x20, 0x00, level}, 200, frames);
        check_raw({0xc9}, 200, frames);
    }
}
// Both bounds can be read; if the upper one cannot, it is not documented whether #BR by the lower one comes first.
TEST_F(AgainstHost32, Bound) {
    const auto pair = [&](Trial& t) {
        t.gpr[RBX] = kWindow + maker_.below(kWritablePages * kPageSize - 8);
        const std::array<u32, 2> bounds = {static_cast<u32>(maker_.value()), static_cast<u32>(maker_.value())};
        std::memcpy(reinterpret_cast<void*>(t.gpr[RBX]), bounds.data(), sizeof bounds);
        if (maker_.below(2) == 0) t.gpr[RAX] = bounds[maker_.below(2)] + maker_.below(3) - 1;
        t.gpr[RAX] &= 0xffffffff;
    };
    check_raw({0x62, 0x03}, 600, pair);
    check_raw({0x66, 0x62, 0x03}, 600, pair);
}

}  // namespace
}  // namespace dualvm::interp
