// AND OR XOR NOT TEST; SHL SHR SAR ROL ROR RCL RCR SHLD SHRD.
#include "reference.h"
#include "reference_flags.h"

namespace dualvm::interp {

namespace {

template <class Operation>
Flow logic(State& s, const Insn& insn, Operation operation) {
    u64 a = 0, b = 0;
    if (!read_operand(s, insn, 1, b) || !read_operand_for_update(s, insn, 0, a)) return Flow::Fault;
    const u64 result = operation(a, b);
    if (!write_operand(s, insn, 0, result)) return Flow::Fault;
    set_flags(s, rflags::Arithmetic, logic_flags(result, insn.operand[0].size));
    return Flow::Next;
}

// AND, OR, XOR: DEST := DEST op SRC; CF = OF = 0.
Flow and_(State& s, const Insn& insn) {
    return logic(s, insn, [](u64 a, u64 b) { return a & b; });
}
Flow or_(State& s, const Insn& insn) {
    return logic(s, insn, [](u64 a, u64 b) { return a | b; });
}
Flow xor_(State& s, const Insn& insn) {
    return logic(s, insn, [](u64 a, u64 b) { return a ^ b; });
}

// TEST: the flags of AND, the result thrown away.
Flow test(State& s, const Insn& insn) {
    u64 a = 0, b = 0;
    if (!read_operand(s, insn, 0, a) || !read_operand(s, insn, 1, b)) return Flow::Fault;
    set_flags(s, rflags::Arithmetic, logic_flags(a & b, insn.operand[0].size));
    return Flow::Next;
}

// NOT: no flags.
Flow not_(State& s, const Insn& insn) {
    u64 a = 0;
    if (!read_operand_for_update(s, insn, 0, a) || !write_operand(s, insn, 0, ~a)) return Flow::Fault;
    return Flow::Next;
}

// --- shifts and rotates
// ---------------------------------------------------------------------------------------------------

// What a shift makes of its operand: the flags in `written` get the bits of `flags`.
struct Shifted {
    u64 result = 0, flags = 0, written = 0;
};

// "The count is masked to 5 bits (or 6 bits with a 64-bit operand)" (SDM vol. 2B, "SAL/SAR/SHL/SHR"). A masked count of
// 0 changes no flag, but the operand is written all the same.
template <class Operation>
Flow shift(State& s, const Insn& insn, Operation operation) {
    const unsigned size = insn.operand[0].size;
    u64 count = 0, a = 0;
    if (!read_operand(s, insn, 1, count) || !read_operand_for_update(s, insn, 0, a)) return Flow::Fault;
    const auto masked = static_cast<unsigned>(count & (size == 8 ? 63 : 31));
    const Shifted done = masked == 0 ? Shifted{.result = a} : operation(a, masked, size);
    if (!write_operand(s, insn, 0, done.result)) return Flow::Fault;
    set_flags(s, done.written, done.flags);
    return Flow::Next;
}

u64 flag_if(bool condition, u64 bit) { return condition ? bit : 0; }
bool top_bit(u64 value, unsigned size) { return (value & sign_bit(size)) != 0; }

// SHL: CF is the last bit shifted out; OF, defined for a count of 1, is CF xor the new sign. AF is undefined: cleared.
Flow shl(State& s, const Insn& insn) {
    return shift(s, insn, [](u64 a, unsigned count, unsigned size) {
        const unsigned bits = 8 * size;
        const u64 result = (count >= bits ? 0 : a << count) & size_mask(size);
        const bool carry = count <= bits && ((a >> (bits - count)) & 1) != 0;
        return Shifted{result,
                       result_flags(result, size) | flag_if(carry, rflags::CF) |
                           flag_if(carry != top_bit(result, size), rflags::OF),
                       rflags::Arithmetic};
    });
}

// SHR: OF, for a count of 1, is the sign the operand had.
Flow shr(State& s, const Insn& insn) {
    return shift(s, insn, [](u64 a, unsigned count, unsigned size) {
        const unsigned bits = 8 * size;
        const u64 result = count >= bits ? 0 : a >> count;
        const bool carry = count <= bits && ((a >> (count - 1)) & 1) != 0;
        return Shifted{result,
                       result_flags(result, size) | flag_if(carry, rflags::CF) |
                           flag_if(count == 1 && top_bit(a, size), rflags::OF),
                       rflags::Arithmetic};
    });
}

// SAR: copies of the sign come in; OF is 0 for a count of 1.
Flow sar(State& s, const Insn& insn) {
    return shift(s, insn, [](u64 a, unsigned count, unsigned size) {
        const auto value = static_cast<i64>(sign_extend(a, size));
        const u64 result = static_cast<u64>(value >> count) & size_mask(size);
        const bool carry = ((value >> (count - 1)) & 1) != 0;
        return Shifted{result, result_flags(result, size) | flag_if(carry, rflags::CF), rflags::Arithmetic};
    });
}

// ROL, ROR: only CF and OF are written (OF is defined for a count of 1; computed the same way for others). A count that
// is a multiple of the size moves nothing but still sets CF.
Flow rol(State& s, const Insn& insn) {
    return shift(s, insn, [](u64 a, unsigned count, unsigned size) {
        const unsigned bits = 8 * size, n = count % bits;
        const u64 result = n == 0 ? a : ((a << n) | (a >> (bits - n))) & size_mask(size);
        const bool carry = (result & 1) != 0;
        return Shifted{result, flag_if(carry, rflags::CF) | flag_if(carry != top_bit(result, size), rflags::OF),
                       rflags::CF | rflags::OF};
    });
}

Flow ror(State& s, const Insn& insn) {
    return shift(s, insn, [](u64 a, unsigned count, unsigned size) {
        const unsigned bits = 8 * size, n = count % bits;
        const u64 result = n == 0 ? a : ((a >> n) | (a << (bits - n))) & size_mask(size);
        const bool carry = top_bit(result, size), next = (result & (sign_bit(size) >> 1)) != 0;
        return Shifted{result, flag_if(carry, rflags::CF) | flag_if(carry != next, rflags::OF),
                       rflags::CF | rflags::OF};
    });
}

// RCL, RCR: CF is one more bit of the operand, so 8- and 16-bit counts go modulo 9 and 17.
Flow rotate_through_carry(State& s, const Insn& insn, bool left) {
    const bool carry_in = flag(s, rflags::CF);
    return shift(s, insn, [carry_in, left](u64 a, unsigned count, unsigned size) {
        const unsigned bits = 8 * size, n = count % (bits + 1);
        u64 result = a;
        bool carry = carry_in;
        for (unsigned i = 0; i < n; ++i) {
            if (left) {
                const bool out = top_bit(result, size);
                result = ((result << 1) | (carry ? 1 : 0)) & size_mask(size);
                carry = out;
            } else {
                const bool out = (result & 1) != 0;
                result = (result >> 1) | (carry ? sign_bit(size) : 0);
                carry = out;
            }
        }
        const bool overflow =
            left ? carry != top_bit(result, size) : top_bit(result, size) != ((result & (sign_bit(size) >> 1)) != 0);
        return Shifted{result, flag_if(carry, rflags::CF) | flag_if(overflow, rflags::OF), rflags::CF | rflags::OF};
    });
}
Flow rcl(State& s, const Insn& insn) { return rotate_through_carry(s, insn, true); }
Flow rcr(State& s, const Insn& insn) { return rotate_through_carry(s, insn, false); }

// SHLD, SHRD: as SHL and SHR, with the bits of the second operand coming in. OF, for a count of 1: the sign changed.
// With 16-bit operands and counts above 16 the result is undefined; CPUs go on with the pair DEST:SRC:DEST, as here.
Flow double_shift(State& s, const Insn& insn, bool left) {
    const unsigned size = insn.operand[0].size, bits = 8 * size;
    u64 count = 0, source = 0, a = 0;
    if (!read_operand(s, insn, 2, count) || !read_operand(s, insn, 1, source) ||
        !read_operand_for_update(s, insn, 0, a)) {
        return Flow::Fault;
    }
    const auto n = static_cast<unsigned>(count & (size == 8 ? 63 : 31));
    u64 result = a;
    bool carry = false;
    for (unsigned i = 0; i < n; ++i) {
        // The bit that comes in: from the source, and beyond its width from the operand as it was.
        const u64 from = i < bits ? source : a;
        const unsigned at = i % bits;
        if (left) {
            carry = top_bit(result, size);
            result = ((result << 1) | ((from >> (bits - 1 - at)) & 1)) & size_mask(size);
        } else {
            carry = (result & 1) != 0;
            result = (result >> 1) | (((from >> at) & 1) != 0 ? sign_bit(size) : 0);
        }
    }
    if (!write_operand(s, insn, 0, result)) return Flow::Fault;
    if (n == 0) return Flow::Next;
    set_flags(s, rflags::Arithmetic,
              result_flags(result, size) | flag_if(carry, rflags::CF) |
                  flag_if(top_bit(result, size) != top_bit(a, size), rflags::OF));
    return Flow::Next;
}
Flow shld(State& s, const Insn& insn) { return double_shift(s, insn, true); }
Flow shrd(State& s, const Insn& insn) { return double_shift(s, insn, false); }

}  // namespace

void add_logic_and_shifts(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_AND, and_);
    table.add(ZYDIS_MNEMONIC_OR, or_);
    table.add(ZYDIS_MNEMONIC_XOR, xor_);
    table.add(ZYDIS_MNEMONIC_TEST, test);
    table.add(ZYDIS_MNEMONIC_NOT, not_);
    table.add(ZYDIS_MNEMONIC_SHL, shl);
    table.add(ZYDIS_MNEMONIC_SHR, shr);
    table.add(ZYDIS_MNEMONIC_SAR, sar);
    table.add(ZYDIS_MNEMONIC_ROL, rol);
    table.add(ZYDIS_MNEMONIC_ROR, ror);
    table.add(ZYDIS_MNEMONIC_RCL, rcl);
    table.add(ZYDIS_MNEMONIC_RCR, rcr);
    table.add(ZYDIS_MNEMONIC_SHLD, shld);
    table.add(ZYDIS_MNEMONIC_SHRD, shrd);
}

}  // namespace dualvm::interp
