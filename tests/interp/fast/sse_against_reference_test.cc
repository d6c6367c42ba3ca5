// The fast handlers of SSE instructions against the routine that loads and saves the host's whole state: random short
// programs on corner values under every kind of MXCSR; registers, flags, MXCSR, memory and faults must be the same.
#include <Zydis/Zydis.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "dualvm/interp/interpreter.h"
#include "dualvm/run_loop.h"

namespace dualvm {
namespace {

using Random = std::mt19937_64;

constexpr u64 kCode = 0x200000, kData = 0x300000, kDataSize = 0x400;
constexpr u32 kAllMasked = 0x1f80;

struct Family {
    std::vector<ZydisMnemonic> mnemonics;
    // Operands, as letters: x XMM, m memory, r r32, R r64 (r32 in 32-bit code), i immediate byte. A choice in each.
    std::vector<std::string> forms;
    u16 memory = 16;
};

#define M(NAME) ZYDIS_MNEMONIC_##NAME
const std::vector<Family>& families() {
    static const std::vector<Family> all = {
        {{M(ADDPS),    M(ADDPD),    M(SUBPS),  M(SUBPD),  M(MULPS),  M(MULPD),  M(DIVPS), M(DIVPD),
          M(MINPS),    M(MINPD),    M(MAXPS),  M(MAXPD),  M(SQRTPS), M(SQRTPD), M(RCPPS), M(RSQRTPS),
          M(ADDSUBPS), M(ADDSUBPD), M(HADDPS), M(HADDPD), M(HSUBPS), M(HSUBPD)},
         {"xx", "xm"}},
        {{M(ADDSS), M(SUBSS), M(MULSS), M(DIVSS), M(MINSS), M(MAXSS), M(SQRTSS), M(RCPSS), M(RSQRTSS), M(COMISS),
          M(UCOMISS), M(CVTSS2SD)},
         {"xx", "xm"},
         4},
        {{M(ADDSD), M(SUBSD), M(MULSD), M(DIVSD), M(MINSD), M(MAXSD), M(SQRTSD), M(COMISD), M(UCOMISD), M(CVTSD2SS),
          M(CVTPS2PD), M(CVTDQ2PD), M(MOVDDUP)},
         {"xx", "xm"},
         8},
        {{M(CVTPD2PS), M(CVTDQ2PS), M(CVTPS2DQ), M(CVTTPS2DQ), M(CVTPD2DQ), M(CVTTPD2DQ)}, {"xx", "xm"}},
        {{M(CVTSI2SS), M(CVTSI2SD)}, {"xr", "xR", "xm"}, 4},
        {{M(CVTSI2SS), M(CVTSI2SD)}, {"xm"}, 8},
        {{M(CVTSS2SI), M(CVTTSS2SI)}, {"rx", "Rx", "rm", "Rm"}, 4},
        {{M(CVTSD2SI), M(CVTTSD2SI)}, {"rx", "Rx", "rm", "Rm"}, 8},
        {{M(MOVAPS), M(MOVAPD), M(MOVDQA), M(MOVUPS), M(MOVUPD), M(MOVDQU)}, {"xx", "xm", "mx"}},
        {{M(MOVNTPS), M(MOVNTPD), M(MOVNTDQ)}, {"mx"}},
        {{M(LDDQU), M(MOVNTDQA)}, {"xm"}},
        {{M(MOVSS)}, {"xx", "xm", "mx"}, 4},
        {{M(MOVSD)}, {"xx", "xm", "mx"}, 8},
        {{M(MOVLPS), M(MOVLPD), M(MOVHPS), M(MOVHPD)}, {"xm", "mx"}, 8},
        {{M(MOVHLPS), M(MOVLHPS)}, {"xx"}},
        {{M(MOVD)}, {"xr", "rx", "xm", "mx"}, 4},
        {{M(MOVQ)}, {"xR", "Rx", "xx", "xm", "mx"}, 8},
        {{M(MOVMSKPS), M(MOVMSKPD), M(PMOVMSKB)}, {"rx"}},
        {{M(ANDPS), M(ANDPD), M(ANDNPS), M(ANDNPD), M(ORPS), M(ORPD), M(XORPS), M(XORPD), M(PAND), M(PANDN), M(POR),
          M(PXOR)},
         {"xx", "xm"}},
        {{M(PADDB),  M(PADDW),  M(PADDD),   M(PADDQ),   M(PSUBB),  M(PSUBW),   M(PSUBD),   M(PSUBQ),
          M(PADDSB), M(PADDSW), M(PADDUSB), M(PADDUSW), M(PSUBSB), M(PSUBSW),  M(PSUBUSB), M(PSUBUSW),
          M(PHADDW), M(PHADDD), M(PHADDSW), M(PHSUBW),  M(PHSUBD), M(PHSUBSW), M(PAVGB),   M(PAVGW),
          M(PSADBW), M(PABSB),  M(PABSW),   M(PABSD),   M(PSIGNB), M(PSIGNW),  M(PSIGND)},
         {"xx", "xm"}},
        {{M(PMULLW), M(PMULHW), M(PMULHUW), M(PMULUDQ), M(PMADDWD), M(PMADDUBSW), M(PMULHRSW), M(PMULLD), M(PMULDQ),
          M(PHMINPOSUW)},
         {"xx", "xm"}},
        {{M(PCMPEQB), M(PCMPEQW), M(PCMPEQD), M(PCMPEQQ), M(PCMPGTB), M(PCMPGTW), M(PCMPGTD),
          M(PCMPGTQ), M(PMINUB),  M(PMINSW),  M(PMAXUB),  M(PMAXSW),  M(PMINSB),  M(PMINUW),
          M(PMINSD),  M(PMINUD),  M(PMAXSB),  M(PMAXUW),  M(PMAXSD),  M(PMAXUD),  M(PTEST)},
         {"xx", "xm"}},
        {{M(PSLLW), M(PSLLD), M(PSLLQ), M(PSRLW), M(PSRLD), M(PSRLQ), M(PSRAW), M(PSRAD)}, {"xx", "xm", "xi"}},
        {{M(PSLLDQ), M(PSRLDQ)}, {"xi"}},
        {{M(PUNPCKLBW), M(PUNPCKLWD), M(PUNPCKLDQ), M(PUNPCKLQDQ), M(PUNPCKHBW), M(PUNPCKHWD), M(PUNPCKHDQ),
          M(PUNPCKHQDQ), M(PACKSSWB), M(PACKSSDW), M(PACKUSWB), M(PACKUSDW), M(UNPCKLPS), M(UNPCKLPD), M(UNPCKHPS),
          M(UNPCKHPD), M(PSHUFB), M(MOVSLDUP), M(MOVSHDUP)},
         {"xx", "xm"}},
        {{M(PMOVSXBW), M(PMOVSXWD), M(PMOVSXDQ), M(PMOVZXBW), M(PMOVZXWD), M(PMOVZXDQ)}, {"xx", "xm"}, 8},
        {{M(PMOVSXBD), M(PMOVSXWQ), M(PMOVZXBD), M(PMOVZXWQ)}, {"xx", "xm"}, 4},
        {{M(PMOVSXBQ), M(PMOVZXBQ)}, {"xx", "xm"}, 2},
        {{M(BLENDVPS), M(BLENDVPD), M(PBLENDVB)}, {"xx", "xm", "xx0", "xm0"}},
        {{M(PSHUFD), M(PSHUFLW), M(PSHUFHW), M(SHUFPS), M(SHUFPD), M(PALIGNR), M(BLENDPS), M(BLENDPD), M(PBLENDW),
          M(CMPPS), M(CMPPD), M(ROUNDPS), M(ROUNDPD), M(DPPS), M(DPPD), M(MPSADBW)},
         {"xxi", "xmi"}},
        {{M(CMPSS), M(ROUNDSS), M(INSERTPS)}, {"xxi", "xmi"}, 4},
        {{M(CMPSD), M(ROUNDSD)}, {"xxi", "xmi"}, 8},
        {{M(PINSRB)}, {"xri", "xmi"}, 1},
        {{M(PINSRW)}, {"xri", "xmi"}, 2},
        {{M(PINSRD)}, {"xri", "xmi"}, 4},
        {{M(PINSRQ)}, {"xRi", "xmi"}, 8},
        {{M(PEXTRB)}, {"rxi", "mxi"}, 1},
        {{M(PEXTRW)}, {"rxi", "mxi"}, 2},
        {{M(PEXTRD), M(EXTRACTPS)}, {"rxi", "mxi"}, 4},
        {{M(PEXTRQ)}, {"Rxi", "mxi"}, 8},
        {{M(PCMPISTRI), M(PCMPISTRM), M(PCMPESTRI), M(PCMPESTRM)}, {"xxi", "xmi"}},
        {{M(STMXCSR), M(LDMXCSR)}, {"m"}, 4},
    };
    return all;
}
#undef M

struct Generator {
    Random random;
    bool long_mode;
    bool aligned = true;  // every memory operand of 16 bytes is

    u64 below(u64 n) { return random() % n; }

    ZydisEncoderOperand operand(char kind, const Family& family) {
        ZydisEncoderOperand o{};
        o.type = ZYDIS_OPERAND_TYPE_REGISTER;
        switch (kind) {
            case 'x': o.reg.value = static_cast<ZydisRegister>(ZYDIS_REGISTER_XMM0 + below(long_mode ? 16 : 8)); break;
            case '0': o.reg.value = ZYDIS_REGISTER_XMM0; break;
            case 'r': o.reg.value = static_cast<ZydisRegister>(ZYDIS_REGISTER_EAX + below(3)); break;
            case 'R':
                o.reg.value =
                    static_cast<ZydisRegister>((long_mode ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_EAX) + below(3));
                break;
            case 'i':
                o.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
                o.imm.u = below(3) == 0 ? below(256) : below(20);
                break;
            default: {
                o.type = ZYDIS_OPERAND_TYPE_MEMORY;
                o.mem.size = family.memory;
                const bool indexed = below(2) == 0, wide = long_mode && below(4) != 0;
                o.mem.base = wide ? ZYDIS_REGISTER_RBX : ZYDIS_REGISTER_EBX;
                if (indexed) {
                    o.mem.index = wide ? ZYDIS_REGISTER_RBP : ZYDIS_REGISTER_EBP;
                    o.mem.scale = static_cast<u8>(1 << below(4));
                }
                const u64 place = below(kDataSize - 192);
                o.mem.displacement = static_cast<i64>(aligned ? place & ~u64{15} : place);
                break;
            }
        }
        return o;
    }

    bool encode(std::vector<u8>& code, ZydisMnemonic mnemonic, const Family& family, const std::string& form) {
        ZydisEncoderRequest request{};
        request.machine_mode = long_mode ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32;
        request.mnemonic = mnemonic;
        for (char kind : form) request.operands[request.operand_count++] = operand(kind, family);
        std::array<u8, 16> bytes{};
        ZyanUSize length = bytes.size();
        if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, bytes.data(), &length))) return false;
        code.insert(code.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
        return true;
    }

    bool instruction(std::vector<u8>& code, const Family& family) {
        return encode(code, family.mnemonics[below(family.mnemonics.size())], family,
                      family.forms[below(family.forms.size())]);
    }
    std::vector<u8> program() {
        std::vector<u8> code;
        for (u64 left = 1 + below(10); left > 0;) {
            if (instruction(code, families()[below(families().size())])) --left;
        }
        return code;
    }

    // Zeros, ones, infinities, NaNs of both kinds, denormals, the largest integers, and noise.
    template <class T>
    T number() {
        constexpr bool kWide = sizeof(T) == 8;
        constexpr u64 kCorners64[] = {0,
                                      1,
                                      0x3ff0000000000000,
                                      0x7ff0000000000000,
                                      0x7ff8000000000001,
                                      0x7ff0000000000002,
                                      0x000fffffffffffff,
                                      0x0010000000000000,
                                      0x7fefffffffffffff,
                                      0x41e0000000000000,
                                      0x43e0000000000000,
                                      0x3fe0000000000000,
                                      0x4004000000000000};
        constexpr u32 kCorners32[] = {0,          1,          0x3f800000, 0x7f800000, 0x7fc00001,
                                      0x7f800002, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000,
                                      0x5f000000, 0x3f000000, 0x40200000};
        const u64 sign = below(2) << (8 * sizeof(T) - 1);
        if (below(3) == 0) return static_cast<T>(random());
        const std::size_t i = below(std::size(kCorners64));
        return static_cast<T>(sign | (kWide ? kCorners64[i] : kCorners32[i]));
    }
    template <class Array>
    void fill(Array& bytes) {
        for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
            const u64 value = below(2) == 0 ? number<u64>() : u64{number<u32>()} << 32 | number<u32>();
            std::memcpy(bytes.data() + i, &value, 8);
        }
    }
};

void set_up(Machine& machine, bool long_mode) {
    CpuFile& cpu = machine.cpu();
    cpu.control.cr0 = cr0::PE | cr0::ET | cr0::NE;
    cpu.control.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT;
    const u32 code = Segment::P | Segment::S | 11 | Segment::G | (long_mode ? Segment::L : Segment::DB);
    const u32 data = Segment::P | Segment::S | 3 | Segment::G | Segment::DB;
    for (Segment& s : cpu.segments.seg) s = {.base = 0, .limit = 0xffffffff, .access = data, .selector = 0x10};
    cpu.segments.seg[CS] = {.base = 0, .limit = 0xffffffff, .access = code, .selector = 8};
    if (!long_mode) return;
    constexpr u64 kTable = 0x10000, kFlags = 3;
    ASSERT_TRUE(machine.vmem().write_value(kTable, u64{kTable + 0x1000} | kFlags));
    ASSERT_TRUE(machine.vmem().write_value(kTable + 0x1000, u64{kTable + 0x2000} | kFlags));
    for (u64 i = 0; i < 4; ++i) {
        ASSERT_TRUE(machine.vmem().write_value(kTable + 0x2000 + 8 * i, i << 21 | kFlags | 0x80));
    }
    cpu.control.cr3 = kTable;
    cpu.control.cr4 |= cr4::PAE;
    cpu.control.efer = efer::LME | efer::LMA;
    cpu.control.cr0 |= cr0::PG;
}

struct Outcome {
    CpuFile cpu;
    std::array<u8, kDataSize> data{};
    std::string reason;
    u64 instructions = 0;
};

// Runs `code` and a HLT. There is no interrupt table: a fault ends the run as a triple fault, at its instruction.
Outcome execute(std::vector<u8> code, u64 seed, bool long_mode, u32 mxcsr, u16 fcw, std::vector<std::string> without) {
    auto machine = std::move(*Machine::create({.memory_mebibytes = 4}));
    set_up(*machine, long_mode);
    Generator values{Random(seed), long_mode};
    CpuFile& cpu = machine->cpu();
    for (u64& r : cpu.general.gpr) r = long_mode ? values.number<u64>() : values.number<u32>();
    cpu.general.gpr[RBX] = kData;
    cpu.general.gpr[RBP] = 16 * (seed % 3 == 0 ? 1 : 0);
    cpu.general.gpr[RSP] = kData + 0x8000;
    cpu.general.rflags = rflags::Fixed1 | (values.random() & rflags::Arithmetic);
    cpu.general.rip = kCode;
    for (VectorRegister& v : cpu.fpu.vector) {
        values.fill(v.bytes);
        std::fill(v.bytes.begin() + 16, v.bytes.end(), u8{0});
    }
    cpu.fpu.mxcsr = mxcsr;
    cpu.fpu.fcw = fcw;
    cpu.fpu.fsw = static_cast<u16>(values.random() & 0x7f40);  // conditions, TOP, stack fault
    cpu.fpu.ftw = static_cast<u8>(values.below(3) == 0 ? values.random() : 0xff);
    for (X87Register& r : cpu.fpu.st) {
        r.significand = values.number<u64>() | (values.below(4) != 0 ? u64{1} << 63 : 0);
        constexpr u16 kExponents[] = {0, 1, 0x3fff, 0x4000, 0x403e, 0x7ffe, 0x7fff, 0x3c01};
        r.sign_exponent = static_cast<u16>(kExponents[values.below(std::size(kExponents))] | values.below(2) << 15);
    }
    Outcome o;
    values.fill(o.data);
    EXPECT_TRUE(machine->vmem().write(kData, o.data.data(), kDataSize));
    // Both TLBs know the data's page before the first instruction: mov al, [rbx]; mov [rbx], al.
    code.insert(code.begin(), {0x8a, 0x03, 0x88, 0x03});
    code.push_back(0xf4);
    EXPECT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
    auto engine = make_interpreter(*machine, {.block_cache_bytes = u64{1} << 20, .without = std::move(without)});
    const RunResult result = run_loop(*machine, *engine, {.max_instructions = 1000}, {});
    o.reason = result.reason;
    o.instructions = engine->instructions();
    engine->pull(Groups::All);
    o.cpu = machine->cpu();
    EXPECT_TRUE(machine->vmem().read(kData, o.data.data(), kDataSize));
    return o;
}

std::string hex(const std::vector<u8>& code) {
    std::string s;
    for (u8 b : code) s += fmt::format("{:02x} ", b);
    return s;
}

// True: the two agree.
bool compare(const std::vector<u8>& code, u64 seed, bool long_mode, u32 mxcsr, u16 fcw = 0x37f) {
    const Outcome fast = execute(code, seed, long_mode, mxcsr, fcw, {});
    const Outcome slow = execute(code, seed, long_mode, mxcsr, fcw, {"sse"});
    EXPECT_EQ(fast.reason, slow.reason) << hex(code);
    EXPECT_EQ(fast.instructions, slow.instructions) << hex(code);
    EXPECT_EQ(differences(fast.cpu, slow.cpu, Groups::All), "") << hex(code) << fmt::format("mxcsr {:x}", mxcsr);
    EXPECT_TRUE(fast.data == slow.data) << hex(code);
    return !::testing::Test::HasFailure();
}

void compare_programs(bool long_mode, u64 seed, unsigned programs, bool aligned, bool masked) {
    Generator generator{Random(seed), long_mode, aligned};
    for (unsigned i = 0; i < programs; ++i) {
        // Rounding, flush to zero, denormals are zeros, and flags that are up already; masks.
        u32 mxcsr = static_cast<u32>(generator.random()) & (0xe07f);
        mxcsr |= masked ? kAllMasked : static_cast<u32>(generator.random()) & kAllMasked;
        if (!compare(generator.program(), seed + i, long_mode, mxcsr)) return;
    }
}

TEST(SseAgainstReference, EachInstructionByItself) {
    for (bool long_mode : {true, false}) {
        Generator generator{Random(1), long_mode};
        u64 seed = 0;
        for (const Family& family : families()) {
            for (ZydisMnemonic mnemonic : family.mnemonics) {
                unsigned made = 0;
                for (const std::string& form : family.forms) {
                    for (unsigned trial = 0; trial < 3; ++trial) {
                        std::vector<u8> code;
                        if (!generator.encode(code, mnemonic, family, form)) continue;
                        ++made;
                        const u32 mxcsr = kAllMasked | (static_cast<u32>(generator.random()) & 0xe07f);
                        if (!compare(code, ++seed, long_mode, mxcsr)) return;
                    }
                }
                const bool only_in_long_mode =
                    mnemonic == ZYDIS_MNEMONIC_PINSRQ || mnemonic == ZYDIS_MNEMONIC_PEXTRQ ||
                    ((mnemonic == ZYDIS_MNEMONIC_CVTSI2SS || mnemonic == ZYDIS_MNEMONIC_CVTSI2SD) &&
                     family.memory == 8);
                EXPECT_TRUE(made != 0 || (!long_mode && only_in_long_mode)) << ZydisMnemonicGetString(mnemonic);
            }
        }
    }
}

// An MMX instruction, one of nearly all there are; some of these encodings are none, and #UD.
void mmx_instruction(Generator& generator, std::vector<u8>& code) {
    static constexpr u8 kWithImmediate[] = {0x70, 0x71, 0x72, 0x73, 0xc4, 0xc5};
    code.push_back(0x0f);
    u8 opcode = 0;
    switch (generator.below(6)) {
        case 0: opcode = static_cast<u8>(0x60 + generator.below(16)); break;
        case 1: opcode = kWithImmediate[generator.below(std::size(kWithImmediate))]; break;
        case 2: opcode = static_cast<u8>(generator.below(2) == 0 ? 0x7e : 0x7f); break;  // MOVD, MOVQ: stores
        case 3:
            code.push_back(0x38);
            opcode = static_cast<u8>(generator.below(12));
            break;
        case 4: opcode = 0x77; break;  // EMMS
        default:
            opcode = static_cast<u8>(0xd1 + generator.below(0xfe - 0xd1 + 1));
            if (opcode == 0xf7) opcode = 0x6f;  // MASKMOVQ stores where RDI points
            break;
    }
    code.push_back(opcode);
    if (opcode == 0x77) return;
    const auto fields = static_cast<u8>(generator.below(64));
    if (generator.below(2) == 0) {
        code.push_back(0xc0 | fields);
    } else {
        code.push_back(static_cast<u8>(0x43 | (fields & 0x38)));  // [rbx + disp8]
        code.push_back(static_cast<u8>(generator.below(128)));
    }
    if (std::find(std::begin(kWithImmediate), std::end(kWithImmediate), opcode) != std::end(kWithImmediate)) {
        code.push_back(static_cast<u8>(generator.below(70)));
    }
}

// Every x87 opcode there is, between SSE instructions that round and MMX: their states share the host's registers.
void compare_x87_programs(bool long_mode, u64 seed, unsigned programs, bool masked) {
    Generator generator{Random(seed), long_mode};
    for (unsigned i = 0; i < programs; ++i) {
        std::vector<u8> code;
        for (u64 left = 1 + generator.below(14); left > 0; --left) {
            if (generator.below(5) == 0) {
                generator.instruction(code, families()[generator.below(4)]);
                continue;
            }
            if (generator.below(3) == 0) {
                mmx_instruction(generator, code);
                continue;
            }
            code.push_back(static_cast<u8>(0xd8 + generator.below(8)));
            const u64 reg = generator.below(8);
            if (generator.below(2) == 0) {
                code.push_back(static_cast<u8>(0xc0 | reg << 3 | generator.below(8)));
            } else {
                code.push_back(static_cast<u8>(0x43 | reg << 3));  // [rbx + disp8]
                code.push_back(static_cast<u8>(generator.below(128)));
            }
        }
        const u16 rounding = static_cast<u16>(generator.below(16) << 8), masks = static_cast<u16>(generator.below(64));
        const u16 fcw = static_cast<u16>(0x40 | rounding | (masked ? 0x3f : masks));
        if (!compare(code, seed + i, long_mode, kAllMasked | static_cast<u32>(generator.below(4) << 13), fcw)) return;
    }
}

TEST(X87AgainstReference, Random64BitPrograms) { compare_x87_programs(true, 5000, 1500, true); }
TEST(X87AgainstReference, Random32BitPrograms) { compare_x87_programs(false, 6000, 700, true); }
TEST(X87AgainstReference, UnmaskedExceptions) { compare_x87_programs(true, 7000, 700, false); }

TEST(SseAgainstReference, Random64BitPrograms) { compare_programs(true, 1000, 1500, true, true); }
TEST(SseAgainstReference, Random32BitPrograms) { compare_programs(false, 2000, 700, true, true); }
TEST(SseAgainstReference, MisalignedOperands) { compare_programs(true, 3000, 700, false, true); }
TEST(SseAgainstReference, UnmaskedExceptions) { compare_programs(true, 4000, 700, true, false); }

}  // namespace
}  // namespace dualvm
