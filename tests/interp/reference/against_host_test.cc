// The reference implementations against the host CPU, in 64-bit mode: random operands, flags and addresses. Registers,
// memory, flags that the manual defines, and faults must be the same.
#include "host_comparison.h"

namespace dualvm::interp {
namespace {

__extension__ using I128 = __int128;
const Sizes kAll = {1, 2, 4, 8}, kWords = {2, 4, 8};

class AgainstHost : public HostComparison {
protected:
    AgainstHost() : HostComparison(Bits::Mode64) {}
};

TEST_F(AgainstHost, AddAndSubtract) {
    check_all({ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_ADC, ZYDIS_MNEMONIC_SUB, ZYDIS_MNEMONIC_SBB, ZYDIS_MNEMONIC_CMP},
              {"rm r", "r m", "rm i"}, kAll);
}
TEST_F(AgainstHost, IncrementDecrementNegate) {
    check_all({ZYDIS_MNEMONIC_INC, ZYDIS_MNEMONIC_DEC, ZYDIS_MNEMONIC_NEG}, {"rm"}, kAll);
}
TEST_F(AgainstHost, Multiply) {
    check_all({ZYDIS_MNEMONIC_MUL, ZYDIS_MNEMONIC_IMUL}, {"rm"}, kAll);
    check_all({ZYDIS_MNEMONIC_IMUL}, {"r rm", "r rm i"}, kWords);
}
TEST_F(AgainstHost, Divide) { check_all({ZYDIS_MNEMONIC_DIV, ZYDIS_MNEMONIC_IDIV}, {"rm", "rm", "rm"}, kAll); }
// Dividends that are a multiple of the divisor, give or take one: the edge of what fits.
TEST_F(AgainstHost, DivideAtTheEdge) {
    check_raw({0x48, 0xf7, 0xfb}, 2000, [&](Trial& t) {  // IDIV RBX
        t.gpr[RBX] = maker_.value();
        const I128 product =
            static_cast<I128>(static_cast<i64>(t.gpr[RBX])) * static_cast<i64>((u64{1} << 63) + (maker_.below(3) - 1)) +
            static_cast<i64>(maker_.below(3)) - 1;
        t.gpr[RAX] = static_cast<u64>(product);
        t.gpr[RDX] = static_cast<u64>(product >> 64);
        t.mnemonic = ZYDIS_MNEMONIC_IDIV;
    });
}
// The one quotient that does not even fit 128 bits.
TEST_F(AgainstHost, DivideTheLowestNumberByMinusOne) {
    check_raw({0x48, 0xf7, 0xfb}, 1, [](Trial& t) {
        t.gpr[RDX] = u64{1} << 63;
        t.gpr[RAX] = 0;
        t.gpr[RBX] = ~u64{0};
        t.mnemonic = ZYDIS_MNEMONIC_IDIV;
    });
}
TEST_F(AgainstHost, ExtendTheAccumulator) {
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_CBW, ZYDIS_MNEMONIC_CWDE, ZYDIS_MNEMONIC_CDQE, ZYDIS_MNEMONIC_CWD,
                            ZYDIS_MNEMONIC_CDQ, ZYDIS_MNEMONIC_CQO}) {
        check({m, "", {8}}, 200);
    }
}
TEST_F(AgainstHost, Logic) {
    check_all({ZYDIS_MNEMONIC_AND, ZYDIS_MNEMONIC_OR, ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_TEST}, {"rm r", "rm i"}, kAll);
    check_all({ZYDIS_MNEMONIC_AND, ZYDIS_MNEMONIC_OR, ZYDIS_MNEMONIC_XOR}, {"r m"}, kAll);
    check({ZYDIS_MNEMONIC_NOT, "rm", kAll});
}
TEST_F(AgainstHost, Shift) {
    check_all({ZYDIS_MNEMONIC_SHL, ZYDIS_MNEMONIC_SHR, ZYDIS_MNEMONIC_SAR}, {"rm one", "rm i8", "rm cl"}, kAll);
}
TEST_F(AgainstHost, Rotate) {
    check_all({ZYDIS_MNEMONIC_ROL, ZYDIS_MNEMONIC_ROR, ZYDIS_MNEMONIC_RCL, ZYDIS_MNEMONIC_RCR},
              {"rm one", "rm i8", "rm cl"}, kAll);
}
TEST_F(AgainstHost, DoubleShift) {
    check_all({ZYDIS_MNEMONIC_SHLD, ZYDIS_MNEMONIC_SHRD}, {"rm r i8", "rm r cl"}, kWords);
}
TEST_F(AgainstHost, BitTest) {
    check_all({ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS, ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC},
              {"r r", "m r", "m r", "rm i8"}, kWords);
}
TEST_F(AgainstHost, BitScanAndCount) {
    check_all({ZYDIS_MNEMONIC_BSF, ZYDIS_MNEMONIC_BSR, ZYDIS_MNEMONIC_POPCNT}, {"r rm"}, kWords);
}
TEST_F(AgainstHost, ByteOrder) {
    check({ZYDIS_MNEMONIC_BSWAP, "r", {4, 8}});
    check_all({ZYDIS_MNEMONIC_MOVBE}, {"r m", "m r"}, kWords);
}
TEST_F(AgainstHost, Move) {
    check_all({ZYDIS_MNEMONIC_MOV}, {"r r", "m r", "r m", "rm i"}, kAll);
    check_all({ZYDIS_MNEMONIC_MOVNTI}, {"m r"}, {4, 8});
    check_all({ZYDIS_MNEMONIC_MOVZX, ZYDIS_MNEMONIC_MOVSX}, {"r rm1"}, kWords);
    check_all({ZYDIS_MNEMONIC_MOVZX, ZYDIS_MNEMONIC_MOVSX}, {"r rm2"}, {4, 8});
    check({ZYDIS_MNEMONIC_MOVSXD, "r rm4", {8}});
    check({ZYDIS_MNEMONIC_LEA, "r m", kWords});
}
TEST_F(AgainstHost, Exchange) {
    check_all({ZYDIS_MNEMONIC_XCHG, ZYDIS_MNEMONIC_XADD, ZYDIS_MNEMONIC_CMPXCHG}, {"rm r", "rm r"}, kAll);
    check({ZYDIS_MNEMONIC_CMPXCHG8B, "m8", {8}}, 2000);
    check({ZYDIS_MNEMONIC_CMPXCHG16B, "m16", {8}}, 2000);
}
TEST_F(AgainstHost, ConditionalMoveAndSet) {
    for (u8 condition = 0; condition < 16; ++condition) {
        const auto setcc = static_cast<u8>(0x90 + condition), cmovcc = static_cast<u8>(0x40 + condition);
        check_raw({0x0f, setcc, 0xc3}, 60);         // SETcc BL
        check_raw({0x0f, setcc, 0xc7}, 60);         // SETcc BH
        check_raw({0x0f, cmovcc, 0xc3}, 60);        // CMOVcc EAX, EBX
        check_raw({0x66, 0x0f, cmovcc, 0xc3}, 60);  // CMOVcc AX, BX
        check_raw({0x48, 0x0f, cmovcc, 0xc3}, 60);  // CMOVcc RAX, RBX
        check_raw({0x0f, cmovcc, 0x03}, 60, [&](Trial& t) { t.gpr[RBX] = maker_.window_address(); });
    }
}
TEST_F(AgainstHost, FlagInstructions) {
    for (u8 opcode : Bytes{0xf5, 0xf8, 0xf9, 0xfc, 0xfd, 0x9e, 0x9f}) check_raw({opcode}, 100);
}
TEST_F(AgainstHost, Xlat) {
    check_raw({0xd7}, 300, [&](Trial& t) { t.gpr[RBX] = maker_.window_address() - (t.gpr[RAX] & 0xff); });
    check_raw({0x67, 0xd7}, 300,
              [&](Trial& t) { t.gpr[RBX] = (maker_.window_address() - (t.gpr[RAX] & 0xff)) | maker_.value() << 32; });
}
TEST_F(AgainstHost, HintsAndFencesDoNothing) {
    check_raw({0x90}, 50);
    check_raw({0xf3, 0x90}, 50);
    check_raw({0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00}, 50);
    check_raw({0xf3, 0x0f, 0x1e, 0xfa}, 50);
    check_raw({0x0f, 0xae, 0xe8}, 50);
    check_raw({0x0f, 0xae, 0xf0}, 50);
    check_raw({0x0f, 0xae, 0xf8}, 50);
    check_raw({0x0f, 0x18, 0x03}, 50);
    check_raw({0x0f, 0x0d, 0x0b}, 50);  // PREFETCHW [RBX]
    check_raw({0x0f, 0x0d, 0x13}, 50);  // PREFETCHWT1 [RBX], a NOP to CPUs without it
}
TEST_F(AgainstHost, ClflushFaultsLikeALoad) {
    check_raw({0x0f, 0xae, 0x3b}, 300, [&](Trial& t) { t.gpr[RBX] = maker_.window_address(); });
}
TEST_F(AgainstHost, UndefinedInstructions) {
    check_raw({0x0f, 0x0b}, 20);
    check_raw({0x0f, 0xb9, 0xc0}, 20);
    check_raw({0x0f, 0xff, 0xc0}, 20);
}

// --- the stack
// ------------------------------------------------------------------------------------------------------

TEST_F(AgainstHost, Push) {
    const auto anywhere = [&](Trial& t) { t.gpr[RSP] = maker_.window_address(); };
    for (u8 reg = 0; reg < 8; ++reg) {
        check_raw({static_cast<u8>(0x50 + reg)}, 100, anywhere);
        check_raw({0x66, static_cast<u8>(0x50 + reg)}, 100, anywhere);
    }
    check_raw({0x6a, 0x85}, 100, anywhere);
    check_raw({0x66, 0x6a, 0x85}, 100, anywhere);
    check_raw({0x68, 0x01, 0x02, 0x03, 0x84}, 100, anywhere);
    check_raw({0x66, 0x68, 0x01, 0x84}, 100, anywhere);
    check_raw({0x9c}, 200, anywhere);
    check_raw({0x66, 0x9c}, 200, anywhere);
    check_raw({0xff, 0x74, 0x24, 0x08}, 200, anywhere);  // PUSH [RSP+8]
    check_raw({0xff, 0x33}, 300, [&](Trial& t) {
        t.gpr[RSP] = maker_.window_address();
        t.gpr[RBX] = maker_.window_address();
    });
}
TEST_F(AgainstHost, Pop) {
    const auto anywhere = [&](Trial& t) { t.gpr[RSP] = maker_.window_address(); };
    for (u8 reg = 0; reg < 8; ++reg) {
        if (reg == RSP) continue;
        check_raw({static_cast<u8>(0x58 + reg)}, 100, anywhere);
        check_raw({0x66, static_cast<u8>(0x58 + reg)}, 100, anywhere);
    }
    check_raw({0x8f, 0x44, 0x24, 0x08}, 300, anywhere);        // POP [RSP+8]: with RSP as it is afterwards
    check_raw({0x66, 0x8f, 0x44, 0x24, 0xf8}, 300, anywhere);  // POP word [RSP-8]
    check_raw({0x8f, 0x03}, 300, [&](Trial& t) {
        t.gpr[RSP] = maker_.window_address();
        t.gpr[RBX] = maker_.window_address();
    });
}
TEST_F(AgainstHost, PopFlags) {
    const auto image = [&](Trial& t) {
        // TF and AC would trap in the host's own code.
        const u64 flags = maker_.value() & ~(rflags::TF | rflags::AC);
        t.gpr[RSP] = kWindow + 8 * maker_.below(64);
        std::memcpy(reinterpret_cast<void*>(t.gpr[RSP]), &flags, sizeof flags);
    };
    check_raw({0x9d}, 500, image);
    check_raw({0x66, 0x9d}, 500, image);
}
TEST_F(AgainstHost, EnterAndLeave) {
    const auto frames = [&](Trial& t) {
        t.gpr[RSP] = maker_.window_address();
        t.gpr[RBP] = maker_.window_address();
    };
    for (u8 level : Bytes{0, 1, 2, 5, 31, 33}) {
        check_raw({0xc8, 0x20, 0x00, level}, 200, frames);
        check_raw({0xc8, 0x00, 0x18, level}, 200, frames);
        check_raw({0x66, 0xc8, 0x10, 0x00, level}, 200, frames);
    }
    check_raw({0xc9}, 300, frames);
    check_raw({0x66, 0xc9}, 300, [&](Trial& t) {
        t.gpr[RSP] = kWindow + 64;
        t.gpr[RBP] = maker_.window_address();
    });
}

// --- branches: to kBranchTarget, or on
// ------------------------------------------------------------------------------

constexpr u8 short_to_target(u8 length) { return static_cast<u8>(kBranchTarget - kCodeAddress - length); }

TEST_F(AgainstHost, ConditionalBranches) {
    for (u8 condition = 0; condition < 16; ++condition) {
        check_raw({static_cast<u8>(0x70 + condition), short_to_target(2)}, 60);
        check_raw({0x0f, static_cast<u8>(0x80 + condition), short_to_target(6), 0, 0, 0}, 60);
    }
}
TEST_F(AgainstHost, LoopsAndJumpsOnCount) {
    for (u8 opcode : Bytes{0xe0, 0xe1, 0xe2, 0xe3}) {
        check_raw({opcode, short_to_target(2)}, 200);
        check_raw({0x67, opcode, short_to_target(3)}, 200);
    }
}
TEST_F(AgainstHost, JumpsCallsAndReturns) {
    const auto to_target = [&](Trial& t) {
        t.gpr[RSP] = kWindow + 16 * (2 + maker_.below(200));
        t.gpr[RBX] = kBranchTarget;
        t.gpr[RCX] = kWindow + maker_.below(200);
        const u64 target = kBranchTarget;
        std::memcpy(reinterpret_cast<void*>(t.gpr[RSP]), &target, sizeof target);
        if (t.gpr[RCX] + 8 > t.gpr[RSP] - 8 && t.gpr[RCX] < t.gpr[RSP] + 8) t.gpr[RCX] = t.gpr[RSP];
        std::memcpy(reinterpret_cast<void*>(t.gpr[RCX]), &target, sizeof target);
    };
    check_raw({0xeb, short_to_target(2)}, 20, to_target);
    check_raw({0xe9, short_to_target(5), 0, 0, 0}, 20, to_target);
    check_raw({0xff, 0xe3}, 20, to_target);                         // JMP RBX
    check_raw({0xff, 0x21}, 50, to_target);                         // JMP [RCX]
    check_raw({0xe8, short_to_target(5), 0, 0, 0}, 50, to_target);  // CALL
    check_raw({0xff, 0xd3}, 50, to_target);                         // CALL RBX
    check_raw({0xff, 0x11}, 50, to_target);                         // CALL [RCX]
    check_raw({0xc3}, 50, to_target);
    check_raw({0xc2, 0x34, 0x00}, 50, to_target);
    check_raw({0xf3, 0xc3}, 50, to_target);  // REP RET
}
TEST_F(AgainstHost, CallWithoutAStackFaults) {
    check_raw({0xe8, short_to_target(5), 0, 0, 0}, 100, [&](Trial& t) { t.gpr[RSP] = maker_.window_address(); });
}

// --- strings
// --------------------------------------------------------------------------------------------------------

class StringsAgainstHost : public AgainstHost {
protected:
    void check_string(u8 opcode) {
        const auto place = [&](Trial& t) {
            t.gpr[RSI] = maker_.window_address();
            // Near each other, now and then: overlapping moves, and long runs of equal elements.
            t.gpr[RDI] = maker_.below(3) == 0 ? t.gpr[RSI] + maker_.below(32) - 16 : maker_.window_address();
            // SCAS and CMPS stay below what one call of the reference does: a fault gives back the flags of that call.
            const bool compares = opcode >= 0xae || opcode == 0xa6 || opcode == 0xa7;
            t.gpr[RCX] = maker_.below(3) == 0 ? maker_.below(compares ? 4000 : 10000) : maker_.below(40);
        };
        const auto alike = [&](Trial& t) {
            place(t);
            std::memset(host_->window(), 0x55, kPageSize);
            t.gpr[RAX] = 0x5555555555555555;
            t.gpr[RSI] = kWindow + maker_.below(2048);
            t.gpr[RDI] = kWindow + maker_.below(2048);
        };
        for (u8 rep : Bytes{0x90, 0xf2, 0xf3}) {
            for (u8 prefix : Bytes{0x90, 0x66, 0x48, 0x67}) {
                std::vector<u8> insn;
                if (rep != 0x90) insn.push_back(rep);
                if (prefix != 0x90) insn.push_back(prefix);
                insn.push_back(opcode);
                for (unsigned i = 0; i < 80; ++i) {
                    Trial trial;
                    maker_.make_raw(insn, trial);
                    trial.reads_two = opcode == 0xa6 || opcode == 0xa7;
                    if (i % 2 == 0) {
                        place(trial);
                    } else {
                        alike(trial);
                    }
                    ASSERT_EQ(compare(cpu_, *host_, trial, Bits::Mode64), "");
                }
            }
        }
    }
};

TEST_F(StringsAgainstHost, Movs) {
    check_string(0xa4);
    check_string(0xa5);
}
TEST_F(StringsAgainstHost, Stos) {
    check_string(0xaa);
    check_string(0xab);
}
TEST_F(StringsAgainstHost, Lods) {
    check_string(0xac);
    check_string(0xad);
}
TEST_F(StringsAgainstHost, Scas) {
    check_string(0xae);
    check_string(0xaf);
}
TEST_F(StringsAgainstHost, Cmps) {
    check_string(0xa6);
    check_string(0xa7);
}

TEST_F(StringsAgainstHost, PortsAreForbidden) {
    for (u8 opcode : Bytes{0x6c, 0x6d, 0x6e, 0x6f}) {
        const auto place = [&](Trial& t) {
            t.gpr[RSI] = t.gpr[RDI] = maker_.window_address();
            t.gpr[RCX] = maker_.below(2);
        };
        check_raw({opcode}, 20, place);
        check_raw({0xf3, opcode}, 40, place);
    }
}

}  // namespace
}  // namespace dualvm::interp
