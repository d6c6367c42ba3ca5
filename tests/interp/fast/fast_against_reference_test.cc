// The fast handlers against the readable reference: random short programs, made by Zydis's encoder, run once with and
// once without the fast path; registers, flags and memory must be the same.
#include <Zydis/Zydis.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "dualvm/interp/interpreter.h"
#include "dualvm/run_loop.h"
#include "flat_machine.h"

namespace dualvm {
namespace {

using Random = std::mt19937_64;

constexpr u64 kCode = 0x200000, kData = 0x300000, kDataSize = 0x2000, kStack = 0x308000;

struct Generator {
    Random random;
    bool long_mode;

    u64 below(u64 n) { return random() % n; }
    template <class T, std::size_t N>
    T pick(const T (&from)[N]) {
        return from[below(N)];
    }

    // RSP, RBX (data pointer) and RBP (index) stay what they are; everything else is fair game.
    ZydisRegister gpr(unsigned size) {
        static constexpr int kFree[] = {0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        const int n = kFree[below(long_mode ? 13 : 5)];
        switch (size) {
            case 1:
                if (!long_mode || below(4) == 0) return static_cast<ZydisRegister>(ZYDIS_REGISTER_AL + below(3));
                if (below(4) == 0) return static_cast<ZydisRegister>(ZYDIS_REGISTER_AH + below(3));
                return n < 4 ? static_cast<ZydisRegister>(ZYDIS_REGISTER_AL + n)
                             : static_cast<ZydisRegister>(ZYDIS_REGISTER_SPL + (n - 4));
            case 2: return static_cast<ZydisRegister>(ZYDIS_REGISTER_AX + n);
            case 4: return static_cast<ZydisRegister>(ZYDIS_REGISTER_EAX + n);
            default: return static_cast<ZydisRegister>(ZYDIS_REGISTER_RAX + n);
        }
    }
    ZydisEncoderOperand reg(unsigned size) {
        ZydisEncoderOperand o{};
        o.type = ZYDIS_OPERAND_TYPE_REGISTER;
        o.reg.value = gpr(size);
        return o;
    }
    ZydisEncoderOperand fixed(ZydisRegister r) {
        ZydisEncoderOperand o{};
        o.type = ZYDIS_OPERAND_TYPE_REGISTER;
        o.reg.value = r;
        return o;
    }
    ZydisEncoderOperand memory(unsigned size) {
        ZydisEncoderOperand o{};
        o.type = ZYDIS_OPERAND_TYPE_MEMORY;
        o.mem.size = static_cast<u16>(size);
        o.mem.base = long_mode ? ZYDIS_REGISTER_RBX : ZYDIS_REGISTER_EBX;
        o.mem.displacement = static_cast<i64>(below(kDataSize - 256));
        if (below(2) == 0) {
            o.mem.index = long_mode ? ZYDIS_REGISTER_RBP : ZYDIS_REGISTER_EBP;
            o.mem.scale = static_cast<u8>(1 << below(4));
        }
        return o;
    }
    ZydisEncoderOperand immediate(unsigned size) {
        ZydisEncoderOperand o{};
        o.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
        const u64 raw = below(3) == 0 ? below(4) : random();
        o.imm.s = size == 1 ? static_cast<i8>(raw) : size == 2 ? static_cast<i16>(raw) : static_cast<i32>(raw);
        return o;
    }
    unsigned size() {
        static constexpr unsigned kSizes[] = {1, 2, 4, 4, 8, 8};
        return long_mode ? pick(kSizes) : kSizes[below(4)];
    }

    bool encode(std::vector<u8>& code, ZydisMnemonic mnemonic, std::initializer_list<ZydisEncoderOperand> operands,
                ZydisInstructionAttributes prefixes = 0) {
        ZydisEncoderRequest request{};
        request.prefixes = prefixes;
        request.machine_mode = long_mode ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32;
        request.mnemonic = mnemonic;
        for (const auto& o : operands) request.operands[request.operand_count++] = o;
        std::array<u8, 16> bytes{};
        ZyanUSize length = bytes.size();
        if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, bytes.data(), &length))) return false;
        code.insert(code.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
        return true;
    }

    ZydisInstructionAttributes maybe_locked() { return below(2) == 0 ? ZYDIS_ATTRIB_HAS_LOCK : 0; }

    void bits(std::vector<u8>& code, unsigned n) {
        static constexpr ZydisMnemonic kTest[] = {ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS, ZYDIS_MNEMONIC_BTR,
                                                  ZYDIS_MNEMONIC_BTC};
        static constexpr ZydisMnemonic kCount[] = {ZYDIS_MNEMONIC_BSF, ZYDIS_MNEMONIC_BSR, ZYDIS_MNEMONIC_POPCNT};
        const ZydisMnemonic test = pick(kTest);
        switch (below(5)) {
            case 0: encode(code, test, {reg(n), reg(n)}); break;
            case 4: {
                const unsigned from = n == 8 ? below(2) == 0 ? 1 : 8 : 1 << below(3);
                encode(code, ZYDIS_MNEMONIC_CRC32, {reg(n < 4 ? 4 : n), below(2) == 0 ? reg(from) : memory(from)});
                break;
            }
            case 1: encode(code, test, {reg(n), immediate(1)}); break;
            case 2:
                encode(code, test, {memory(n), immediate(1)}, test == ZYDIS_MNEMONIC_BT ? 0 : maybe_locked());
                break;
            default: encode(code, pick(kCount), {reg(n), below(2) == 0 ? reg(n) : memory(n)}); break;
        }
    }
    void exchange(std::vector<u8>& code, unsigned n) {
        const ZydisEncoderOperand m = memory(n);
        switch (below(5)) {
            case 0: encode(code, ZYDIS_MNEMONIC_XCHG, {reg(n), reg(n)}); break;
            case 1: encode(code, ZYDIS_MNEMONIC_XCHG, {m, reg(n)}); break;
            case 2: encode(code, ZYDIS_MNEMONIC_XADD, {m, reg(n)}, maybe_locked()); break;
            case 3: encode(code, ZYDIS_MNEMONIC_CMPXCHG, {m, reg(n)}, maybe_locked()); break;
            default:  // equal this time
                encode(code, ZYDIS_MNEMONIC_MOV,
                       {fixed(n == 1   ? ZYDIS_REGISTER_AL
                              : n == 2 ? ZYDIS_REGISTER_AX
                              : n == 4 ? ZYDIS_REGISTER_EAX
                                       : ZYDIS_REGISTER_RAX),
                        m});
                encode(code, ZYDIS_MNEMONIC_CMPXCHG, {m, reg(n)}, maybe_locked());
                break;
        }
    }
    void wide_arithmetic(std::vector<u8>& code, unsigned n) {
        const ZydisEncoderOperand b = below(2) == 0 ? reg(n) : memory(n);
        if (below(2) == 0) {
            encode(code, below(2) == 0 ? ZYDIS_MNEMONIC_MUL : ZYDIS_MNEMONIC_IMUL, {b});
            return;
        }
        // A division that has a quotient: RDX is 0, the divisor is not.
        const ZydisEncoderOperand m = memory(n), zero = fixed(ZYDIS_REGISTER_EDX);
        ZydisEncoderOperand divisor = immediate(1);
        divisor.imm.s |= 1;
        encode(code, ZYDIS_MNEMONIC_XOR, {zero, zero});
        encode(code, ZYDIS_MNEMONIC_MOV, {m, divisor});
        if (below(2) == 0) {
            encode(code, ZYDIS_MNEMONIC_MOV, {fixed(ZYDIS_REGISTER_EAX), immediate(4)});
            encode(code, n == 4 ? ZYDIS_MNEMONIC_CDQ : ZYDIS_MNEMONIC_NOP, {});
            encode(code, n == 4 ? ZYDIS_MNEMONIC_IDIV : ZYDIS_MNEMONIC_DIV, {m});
        } else {
            encode(code, ZYDIS_MNEMONIC_DIV, {m});
        }
    }

    // One random instruction of a random family, or some.
    void instruction(std::vector<u8>& code) {
        const unsigned n = size();
        ZydisEncoderOperand one{};
        one.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
        one.imm.u = 1;
        switch (below(17)) {
            case 0:
            case 1:
            case 2:
            case 3: {
                static constexpr ZydisMnemonic kBinary[] = {ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_OR,  ZYDIS_MNEMONIC_ADC,
                                                            ZYDIS_MNEMONIC_SBB, ZYDIS_MNEMONIC_AND, ZYDIS_MNEMONIC_SUB,
                                                            ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_CMP, ZYDIS_MNEMONIC_TEST,
                                                            ZYDIS_MNEMONIC_MOV};
                const ZydisMnemonic m = pick(kBinary);
                const bool lockable = m != ZYDIS_MNEMONIC_CMP && m != ZYDIS_MNEMONIC_TEST && m != ZYDIS_MNEMONIC_MOV;
                const ZydisInstructionAttributes lock = lockable ? maybe_locked() : 0;
                switch (below(5)) {
                    case 0: encode(code, m, {reg(n), reg(n)}); break;
                    case 1: encode(code, m, {reg(n), immediate(n)}); break;
                    case 2: encode(code, m, {reg(n), memory(n)}); break;
                    case 3: encode(code, m, {memory(n), reg(n)}, lock); break;
                    default: encode(code, m, {memory(n), immediate(n)}, lock); break;
                }
                break;
            }
            case 4: {
                static constexpr ZydisMnemonic kUnary[] = {ZYDIS_MNEMONIC_INC, ZYDIS_MNEMONIC_DEC, ZYDIS_MNEMONIC_NEG,
                                                           ZYDIS_MNEMONIC_NOT};
                encode(code, pick(kUnary), {below(2) == 0 ? reg(n) : memory(n)});
                break;
            }
            case 5: {
                static constexpr ZydisMnemonic kShift[] = {ZYDIS_MNEMONIC_ROL, ZYDIS_MNEMONIC_ROR, ZYDIS_MNEMONIC_SHL,
                                                           ZYDIS_MNEMONIC_SHR, ZYDIS_MNEMONIC_SAR};
                // Counts of 1 only where OF is defined by it; larger ones leave OF undefined.
                ZydisEncoderOperand count{};
                count.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
                count.imm.u = below(2);
                encode(code, pick(kShift), {below(2) == 0 ? reg(n) : memory(n), count});
                count.imm.u = 1;
                encode(code, below(2) == 0 ? ZYDIS_MNEMONIC_RCL : ZYDIS_MNEMONIC_RCR,
                       {below(2) == 0 ? reg(n) : memory(n), count});
                break;
            }
            case 6: {
                const unsigned from = below(2) == 0 ? 1 : 2, to = n > from ? n : 4;
                encode(code, below(2) == 0 ? ZYDIS_MNEMONIC_MOVZX : ZYDIS_MNEMONIC_MOVSX,
                       {reg(to), below(2) == 0 ? reg(from) : memory(from)});
                break;
            }
            case 7: encode(code, ZYDIS_MNEMONIC_LEA, {reg(n == 1 ? 4 : n), memory(n == 1 ? 4 : n)}); break;
            case 8: {
                static constexpr ZydisMnemonic kCmov[] = {ZYDIS_MNEMONIC_CMOVB,  ZYDIS_MNEMONIC_CMOVO,
                                                          ZYDIS_MNEMONIC_CMOVNZ, ZYDIS_MNEMONIC_CMOVLE,
                                                          ZYDIS_MNEMONIC_CMOVP,  ZYDIS_MNEMONIC_CMOVNS};
                const unsigned wide = n == 1 ? 4 : n;
                encode(code, pick(kCmov), {reg(wide), below(2) == 0 ? reg(wide) : memory(wide)});
                break;
            }
            case 9: {
                static constexpr ZydisMnemonic kSet[] = {ZYDIS_MNEMONIC_SETO, ZYDIS_MNEMONIC_SETNB,
                                                         ZYDIS_MNEMONIC_SETZ, ZYDIS_MNEMONIC_SETNBE,
                                                         ZYDIS_MNEMONIC_SETL, ZYDIS_MNEMONIC_SETNLE};
                encode(code, pick(kSet), {below(2) == 0 ? reg(1) : memory(1)});
                break;
            }
            case 10: exchange(code, n); break;
            case 11: encode(code, below(2) == 0 ? ZYDIS_MNEMONIC_CDQ : ZYDIS_MNEMONIC_CWDE, {}); break;
            case 12: {
                const unsigned wide = long_mode ? 8 : 4;
                ZydisEncoderOperand bytes{};
                bytes.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
                bytes.imm.u = 8 * below(4);
                const auto stack_pointer = fixed(long_mode ? ZYDIS_REGISTER_RSP : ZYDIS_REGISTER_ESP);
                encode(code, ZYDIS_MNEMONIC_SUB, {stack_pointer, bytes});
                encode(code, ZYDIS_MNEMONIC_PUSH, {below(4) == 0 ? memory(wide) : reg(wide)});
                encode(code, ZYDIS_MNEMONIC_PUSH, {below(4) == 0 ? stack_pointer : reg(wide)});
                encode(code, ZYDIS_MNEMONIC_POP, {reg(wide)});
                if (below(4) == 0) encode(code, ZYDIS_MNEMONIC_MOV, {reg(wide), stack_pointer});
                encode(code, ZYDIS_MNEMONIC_POP, {reg(wide)});
                encode(code, ZYDIS_MNEMONIC_ADD, {stack_pointer, bytes});
                break;
            }
            case 13: bits(code, n == 1 ? 4 : n); break;
            case 14: wide_arithmetic(code, n < 4 ? 4 : n); break;
            case 15: {
                const unsigned wide = n == 1 ? 4 : n;
                encode(code, ZYDIS_MNEMONIC_MOVNTI, {memory(n == 8 ? 8 : 4), reg(n == 8 ? 8 : 4)});
                encode(code, ZYDIS_MNEMONIC_IMUL, {reg(wide), below(2) == 0 ? reg(wide) : memory(wide), immediate(1)});
                // By CL, where OF is defined: by 0 or 1.
                encode(code, ZYDIS_MNEMONIC_AND, {fixed(ZYDIS_REGISTER_ECX), one});
                encode(code, below(2) == 0 ? ZYDIS_MNEMONIC_SHL : ZYDIS_MNEMONIC_ROR,
                       {memory(n), fixed(ZYDIS_REGISTER_CL)});
                static constexpr ZydisMnemonic kFlags[] = {ZYDIS_MNEMONIC_CLC, ZYDIS_MNEMONIC_STC, ZYDIS_MNEMONIC_CMC,
                                                           ZYDIS_MNEMONIC_CLD, ZYDIS_MNEMONIC_STD};
                encode(code, pick(kFlags), {});
                break;
            }
            default: encode(code, ZYDIS_MNEMONIC_BSWAP, {reg(long_mode && below(2) == 0 ? 8 : 4)}); break;
        }
        // Now and then a short forward branch over one more instruction.
        if (below(4) == 0) {
            std::vector<u8> skipped;
            encode(skipped, ZYDIS_MNEMONIC_MOV, {reg(4), immediate(4)});
            code.push_back(static_cast<u8>(below(4) == 0 ? 0xe0 + below(4) : 0x70 + below(16)));  // LOOPcc JRCXZ, Jcc
            code.push_back(static_cast<u8>(skipped.size()));
            code.insert(code.end(), skipped.begin(), skipped.end());
        }
    }
};

struct Outcome2 {
    CpuFile cpu;
    std::array<u8, kDataSize> data{};
    std::string reason;
};

Outcome2 execute(const std::vector<u8>& code, u64 seed, bool long_mode, std::vector<std::string> without) {
    auto machine = std::move(*Machine::create({.memory_mebibytes = 4}));
    set_up_flat(*machine, long_mode);
    Random random(seed);
    CpuFile& cpu = machine->cpu();
    for (u64& r : cpu.general.gpr)
        r = (random() % 4 == 0 ? random() % 3 - 1 : random()) & (long_mode ? ~0ull : 0xffffffff);
    cpu.general.gpr[RSP] = kStack;
    cpu.general.gpr[RBX] = kData;
    cpu.general.gpr[RBP] = random() % 16;
    cpu.general.rflags = rflags::Fixed1 | (random() & rflags::Arithmetic);
    cpu.general.rip = kCode;
    Outcome2 o;
    for (u8& b : o.data) b = static_cast<u8>(random());
    EXPECT_TRUE(machine->vmem().write(kData, o.data.data(), kDataSize));
    EXPECT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
    auto engine = make_interpreter(*machine, {.block_cache_bytes = u64{1} << 20, .without = std::move(without)});
    o.reason = run_loop(*machine, *engine, {.max_instructions = 1000}, {}).reason;
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

void compare_programs(bool long_mode, u64 seed, unsigned programs, const std::vector<std::string>& without) {
    Generator generator{Random(seed), long_mode};
    for (unsigned i = 0; i < programs; ++i) {
        std::vector<u8> code;
        const u64 length = 1 + generator.below(12);
        for (u64 k = 0; k < length; ++k) generator.instruction(code);
        code.push_back(0xf4);  // HLT
        const Outcome2 fast = execute(code, seed + i, long_mode, without);
        const Outcome2 reference = execute(code, seed + i, long_mode, {"fast"});
        EXPECT_EQ(fast.reason, "halted") << hex(code);
        EXPECT_EQ(fast.reason, reference.reason) << hex(code);
        EXPECT_EQ(differences(fast.cpu, reference.cpu, Groups::All), "") << hex(code);
        EXPECT_TRUE(fast.data == reference.data) << hex(code);
        if (::testing::Test::HasFailure()) return;
    }
}

// In parts: where a host makes and ends memory mappings slowly, a sanitizer needs a minute for a thousand programs.
class FastAgainstReferenceInParts : public testing::TestWithParam<u64> {};
TEST_P(FastAgainstReferenceInParts, Random64BitPrograms) { compare_programs(true, 1 + 1000 * GetParam(), 600, {}); }
TEST_P(FastAgainstReferenceInParts, Random32BitPrograms) { compare_programs(false, 2 + 1000 * GetParam(), 600, {}); }
INSTANTIATE_TEST_SUITE_P(Five, FastAgainstReferenceInParts, testing::Range(u64{0}, u64{5}));

class FastAgainstReferenceWithout : public testing::TestWithParam<InterpreterOptimisation> {};
TEST_P(FastAgainstReferenceWithout, RandomPrograms) { compare_programs(true, 3, 500, {GetParam().name}); }
INSTANTIATE_TEST_SUITE_P(Each, FastAgainstReferenceWithout, testing::ValuesIn(interpreter_optimisations()),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace dualvm
