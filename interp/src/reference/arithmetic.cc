// ADD ADC SUB SBB CMP INC DEC NEG, MUL IMUL DIV IDIV, CBW .. CQO, and BCD arithmetic.
#include "reference.h"
#include "reference_flags.h"

namespace dualvm::interp {

namespace {

__extension__ using U128 = unsigned __int128;  // both compilers have it on x86-64
__extension__ using I128 = __int128;

// DEST := DEST op SRC, with a memory destination checked for writing before anything changes.
template <class Operation>
Flow binary(State& s, const Insn& insn, Operation operation) {
    u64 a = 0, b = 0;
    if (!read_operand(s, insn, 1, b) || !read_operand_for_update(s, insn, 0, a)) return Flow::Fault;
    const Sum sum = operation(a, b, insn.operand[0].size);
    if (!write_operand(s, insn, 0, sum.result)) return Flow::Fault;
    set_flags(s, rflags::Arithmetic, sum.flags);
    return Flow::Next;
}

// ADD: DEST := DEST + SRC.
Flow add(State& s, const Insn& insn) {
    return binary(s, insn, [](u64 a, u64 b, unsigned size) { return add_with_flags(a, b, 0, size); });
}

// ADC: DEST := DEST + SRC + CF.
Flow adc(State& s, const Insn& insn) {
    const unsigned carry = flag(s, rflags::CF) ? 1 : 0;
    return binary(s, insn, [carry](u64 a, u64 b, unsigned size) { return add_with_flags(a, b, carry, size); });
}

// SUB: DEST := DEST - SRC.
Flow sub(State& s, const Insn& insn) {
    return binary(s, insn, [](u64 a, u64 b, unsigned size) { return subtract_with_flags(a, b, 0, size); });
}

// SBB: DEST := DEST - (SRC + CF).
Flow sbb(State& s, const Insn& insn) {
    const unsigned borrow = flag(s, rflags::CF) ? 1 : 0;
    return binary(s, insn, [borrow](u64 a, u64 b, unsigned size) { return subtract_with_flags(a, b, borrow, size); });
}

// CMP: the flags of SUB, the result thrown away.
Flow cmp(State& s, const Insn& insn) {
    u64 a = 0, b = 0;
    if (!read_operand(s, insn, 0, a) || !read_operand(s, insn, 1, b)) return Flow::Fault;
    set_flags(s, rflags::Arithmetic, subtract_with_flags(a, b, 0, insn.operand[0].size).flags);
    return Flow::Next;
}

template <class Operation>
Flow unary(State& s, const Insn& insn, u64 flags_written, Operation operation) {
    u64 a = 0;
    if (!read_operand_for_update(s, insn, 0, a)) return Flow::Fault;
    const Sum sum = operation(a, insn.operand[0].size);
    if (!write_operand(s, insn, 0, sum.result)) return Flow::Fault;
    set_flags(s, flags_written, sum.flags);
    return Flow::Next;
}

// INC, DEC: as ADD and SUB of 1, but CF stays.
Flow inc(State& s, const Insn& insn) {
    return unary(s, insn, rflags::Arithmetic & ~rflags::CF,
                 [](u64 a, unsigned size) { return add_with_flags(a, 1, 0, size); });
}
Flow dec(State& s, const Insn& insn) {
    return unary(s, insn, rflags::Arithmetic & ~rflags::CF,
                 [](u64 a, unsigned size) { return subtract_with_flags(a, 1, 0, size); });
}

// NEG: DEST := 0 - DEST; so CF is set unless it was 0.
Flow neg(State& s, const Insn& insn) {
    return unary(s, insn, rflags::Arithmetic, [](u64 a, unsigned size) { return subtract_with_flags(0, a, 0, size); });
}

// CF = OF = the upper half matters. SF, ZF, AF and PF are undefined: left alone.
void set_multiply_flags(State& s, bool overflow) {
    set_flags(s, rflags::CF | rflags::OF, overflow ? rflags::CF | rflags::OF : 0);
}

// The double-width accumulator: AX for bytes, DX:AX, EDX:EAX, RDX:RAX.
void write_wide_accumulator(State& s, unsigned size, U128 value) {
    if (size == 1) {
        write_gpr(s, RAX, 2, static_cast<u64>(value));
        return;
    }
    write_gpr(s, RAX, size, static_cast<u64>(value));
    write_gpr(s, RDX, size, static_cast<u64>(value >> (8 * size)));
}
U128 read_wide_accumulator(const State& s, unsigned size) {
    if (size == 1) return read_gpr(s, RAX, 2);
    return U128{read_gpr(s, RDX, size)} << (8 * size) | read_gpr(s, RAX, size);
}

// MUL: (R)DX:(R)AX := (R)AX * SRC, unsigned.
Flow mul(State& s, const Insn& insn) {
    u64 b = 0;
    if (!read_operand(s, insn, 0, b)) return Flow::Fault;
    const unsigned size = insn.operand[0].size;
    const U128 product = U128{read_gpr(s, RAX, size)} * b;
    write_wide_accumulator(s, size, product);
    set_multiply_flags(s, (product >> (8 * size)) != 0);
    return Flow::Next;
}

I128 as_signed(u64 value, unsigned size) { return static_cast<i64>(sign_extend(value, size)); }

// IMUL with one operand: as MUL, signed. With two: DEST := DEST * SRC; with three: DEST := SRC1 * SRC2, cut to size.
Flow imul(State& s, const Insn& insn) {
    const unsigned size = insn.operand[0].size;
    u64 a = 0, b = 0;
    if (insn.operand_count == 1) {
        if (!read_operand(s, insn, 0, b)) return Flow::Fault;
        a = read_gpr(s, RAX, size);
    } else {
        const unsigned first = insn.operand_count == 3 ? 1 : 0;
        if (!read_operand(s, insn, first, a) || !read_operand(s, insn, first + 1, b)) return Flow::Fault;
    }
    const I128 product = as_signed(a, size) * as_signed(b, size);
    if (insn.operand_count == 1) {
        write_wide_accumulator(s, size, static_cast<U128>(product));
    } else {
        write_gpr(s, insn.operand[0].reg, size, static_cast<u64>(product));
    }
    set_multiply_flags(s, as_signed(static_cast<u64>(product), size) != product);
    return Flow::Next;
}

void write_quotient(State& s, unsigned size, u64 quotient, u64 remainder) {
    write_gpr(s, RAX, size, quotient);
    if (size == 1) {
        write_gpr(s, RAX, 1, remainder, true);  // AH
    } else {
        write_gpr(s, RDX, size, remainder);
    }
}

// DIV: the double-width accumulator by SRC; #DE if SRC is 0 or the quotient does not fit. Flags are undefined: kept.
Flow div(State& s, const Insn& insn) {
    u64 divisor = 0;
    if (!read_operand(s, insn, 0, divisor)) return Flow::Fault;
    const unsigned size = insn.operand[0].size;
    if (divisor == 0) return s.raise(DE);
    const U128 dividend = read_wide_accumulator(s, size), quotient = dividend / divisor;
    if (quotient > size_mask(size)) return s.raise(DE);
    write_quotient(s, size, static_cast<u64>(quotient), static_cast<u64>(dividend % divisor));
    return Flow::Next;
}

// IDIV: signed; the quotient is cut toward zero, the remainder has the dividend's sign.
Flow idiv(State& s, const Insn& insn) {
    u64 source = 0;
    if (!read_operand(s, insn, 0, source)) return Flow::Fault;
    const unsigned size = insn.operand[0].size, wide_bits = 16 * size;
    if (source == 0) return s.raise(DE);
    const I128 divisor = as_signed(source, size);
    const U128 raw = read_wide_accumulator(s, size);
    const I128 dividend = static_cast<I128>(raw << (128 - wide_bits)) >> (128 - wide_bits);
    // The one quotient that would overflow the host's division as well.
    constexpr I128 kMinimum = static_cast<I128>(U128{1} << 127);
    if (divisor == -1 && dividend == kMinimum) return s.raise(DE);
    const I128 quotient = dividend / divisor;
    if (as_signed(static_cast<u64>(quotient), size) != quotient) return s.raise(DE);
    write_quotient(s, size, static_cast<u64>(quotient), static_cast<u64>(dividend % divisor));
    return Flow::Next;
}

// CBW, CWDE, CDQE: sign-extend the lower half of (R)AX into all of it.
Flow extend_accumulator(State& s, const Insn& insn) {
    const unsigned size = insn.operand_size;
    write_gpr(s, RAX, size, sign_extend(read_gpr(s, RAX, size / 2), size / 2));
    return Flow::Next;
}

// CWD, CDQ, CQO: (R)DX := the sign of (R)AX, in every bit.
Flow extend_to_rdx(State& s, const Insn& insn) {
    const unsigned size = insn.operand_size;
    write_gpr(s, RDX, size, (read_gpr(s, RAX, size) & sign_bit(size)) != 0 ? ~u64{0} : 0);
    return Flow::Next;
}

// --- BCD (SDM vol. 2A, the instructions' "Operation")
// ------------------------------------------------------------------

// DAA and DAS: decimal adjust AL after addition or subtraction. OF is undefined: cleared.
Flow decimal_adjust(State& s, bool subtract) {
    const u64 old_al = read_gpr(s, RAX, 1);
    const bool old_cf = flag(s, rflags::CF);
    u64 al = old_al, f = 0;
    if ((old_al & 0xf) > 9 || flag(s, rflags::AF)) {
        al = subtract ? al - 6 : al + 6;
        if (old_cf || (al & ~u64{0xff}) != 0) f |= rflags::CF;
        f |= rflags::AF;
    }
    if (old_al > 0x99 || old_cf) {
        al = subtract ? al - 0x60 : al + 0x60;
        f |= rflags::CF;
    } else if (!subtract) {
        f &= ~rflags::CF;
    }
    write_gpr(s, RAX, 1, al);
    set_flags(s, rflags::Arithmetic, f | result_flags(al, 1));
    return Flow::Next;
}
Flow daa(State& s, const Insn&) { return decimal_adjust(s, false); }
Flow das(State& s, const Insn&) { return decimal_adjust(s, true); }

// AAA and AAS: ASCII adjust AL after addition or subtraction. OF, SF, ZF and PF are undefined: as of the new AL.
Flow ascii_adjust(State& s, bool subtract) {
    u64 f = 0;
    if ((read_gpr(s, RAX, 1) & 0xf) > 9 || flag(s, rflags::AF)) {
        const u64 ax = read_gpr(s, RAX, 2);
        write_gpr(s, RAX, 2, subtract ? ax - 0x106 : ax + 0x106);
        f = rflags::AF | rflags::CF;
    }
    write_gpr(s, RAX, 1, read_gpr(s, RAX, 1) & 0xf);
    set_flags(s, rflags::Arithmetic, f | result_flags(read_gpr(s, RAX, 1), 1));
    return Flow::Next;
}
Flow aaa(State& s, const Insn&) { return ascii_adjust(s, false); }
Flow aas(State& s, const Insn&) { return ascii_adjust(s, true); }

// AAM: AH := AL / imm8, AL := AL mod imm8; #DE if imm8 is 0.
Flow aam(State& s, const Insn& insn) {
    const u64 base = insn.operand_count == 0 ? 10 : insn.operand[0].imm & 0xff;
    if (base == 0) return s.raise(DE);
    const u64 al = read_gpr(s, RAX, 1);
    write_gpr(s, RAX, 2, (al / base) << 8 | al % base);
    set_flags(s, rflags::Arithmetic, result_flags(al % base, 1));
    return Flow::Next;
}

// AAD: AL := AL + AH * imm8, AH := 0.
Flow aad(State& s, const Insn& insn) {
    const u64 base = insn.operand_count == 0 ? 10 : insn.operand[0].imm & 0xff;
    const u64 al = (read_gpr(s, RAX, 1) + read_gpr(s, RAX, 1, true) * base) & 0xff;
    write_gpr(s, RAX, 2, al);
    set_flags(s, rflags::Arithmetic, result_flags(al, 1));
    return Flow::Next;
}

}  // namespace

void add_integer_arithmetic(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_ADD, add);
    table.add(ZYDIS_MNEMONIC_ADC, adc);
    table.add(ZYDIS_MNEMONIC_SUB, sub);
    table.add(ZYDIS_MNEMONIC_SBB, sbb);
    table.add(ZYDIS_MNEMONIC_CMP, cmp);
    table.add(ZYDIS_MNEMONIC_INC, inc);
    table.add(ZYDIS_MNEMONIC_DEC, dec);
    table.add(ZYDIS_MNEMONIC_NEG, neg);
    table.add(ZYDIS_MNEMONIC_MUL, mul);
    table.add(ZYDIS_MNEMONIC_IMUL, imul);
    table.add(ZYDIS_MNEMONIC_DIV, div);
    table.add(ZYDIS_MNEMONIC_IDIV, idiv);
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_CBW, ZYDIS_MNEMONIC_CWDE, ZYDIS_MNEMONIC_CDQE}) {
        table.add(m, extend_accumulator);
    }
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_CWD, ZYDIS_MNEMONIC_CDQ, ZYDIS_MNEMONIC_CQO}) table.add(m, extend_to_rdx);
    table.add(ZYDIS_MNEMONIC_DAA, daa);
    table.add(ZYDIS_MNEMONIC_DAS, das);
    table.add(ZYDIS_MNEMONIC_AAA, aaa);
    table.add(ZYDIS_MNEMONIC_AAS, aas);
    table.add(ZYDIS_MNEMONIC_AAM, aam);
    table.add(ZYDIS_MNEMONIC_AAD, aad);
}

}  // namespace dualvm::interp
