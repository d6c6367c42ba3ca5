// BT BTS BTR BTC, BSF BSR, POPCNT, BSWAP, MOVBE.
#include <bit>

#include "reference.h"
#include "reference_flags.h"

namespace dualvm::interp {

namespace {

enum class BitChange : u8 { None, Set, Reset, Complement };

u64 changed(u64 value, u64 bit, BitChange change) {
    switch (change) {
        case BitChange::Set: return value | bit;
        case BitChange::Reset: return value & ~bit;
        case BitChange::Complement: return value ^ bit;
        case BitChange::None: break;
    }
    return value;
}

// BT: CF := the bit. With a register index and a memory operand the index is signed and reaches beyond the operand: the
// word is taken at operand + size * (index / bits) (SDM vol. 2A, "BT"; vol. 1, 3.1.1.9 "bit strings"). ZF stays; OF,
// SF, AF and PF are undefined: left alone.
Flow bit_test(State& s, const Insn& insn, BitChange change) {
    const Operand &target = insn.operand[0], &index_operand = insn.operand[1];
    const unsigned size = target.size, bits = 8 * size;
    u64 index = 0;
    if (!read_operand(s, insn, 1, index)) return Flow::Fault;
    const u64 bit = u64{1} << (index & (bits - 1));
    u64 value = 0;
    if (target.kind != OperandKind::Memory) {
        value = read_gpr(s, target.reg, size);
        if (change != BitChange::None) write_gpr(s, target.reg, size, changed(value, bit, change));
    } else {
        u64 offset = effective_address(s, insn);
        if (index_operand.kind == OperandKind::Gpr) {
            const i64 words = static_cast<i64>(sign_extend(index, size)) >> std::countr_zero(bits);
            offset = (offset + static_cast<u64>(words) * size) & size_mask(insn.address_size);
        }
        const Access access = change == BitChange::None ? Access::Read : Access::Write;
        u64 linear = 0;
        if (!linear_address(s, insn.segment, offset, size, access, linear)) return Flow::Fault;
        if (change != BitChange::None && !check_linear(s, linear, size, Access::Write)) return Flow::Fault;
        if (!read_linear(s, linear, &value, size)) return Flow::Fault;
        const u64 result = changed(value, bit, change);
        if (change != BitChange::None && !write_linear(s, linear, &result, size)) return Flow::Fault;
    }
    set_flags(s, rflags::CF, (value & bit) != 0 ? rflags::CF : 0);
    return Flow::Next;
}
Flow bt(State& s, const Insn& insn) { return bit_test(s, insn, BitChange::None); }
Flow bts(State& s, const Insn& insn) { return bit_test(s, insn, BitChange::Set); }
Flow btr(State& s, const Insn& insn) { return bit_test(s, insn, BitChange::Reset); }
Flow btc(State& s, const Insn& insn) { return bit_test(s, insn, BitChange::Complement); }

// BSF, BSR: ZF := the source is 0; then the destination stays as it is (which AMD documents and Intel does). The other
// flags are undefined: left alone.
Flow bit_scan(State& s, const Insn& insn, bool reverse) {
    u64 source = 0;
    if (!read_operand(s, insn, 1, source)) return Flow::Fault;
    set_flags(s, rflags::ZF, source == 0 ? rflags::ZF : 0);
    if (source == 0) return Flow::Next;
    const int found = reverse ? 63 - std::countl_zero(source) : std::countr_zero(source);
    write_gpr(s, insn.operand[0].reg, insn.operand[0].size, static_cast<u64>(found));
    return Flow::Next;
}
Flow bsf(State& s, const Insn& insn) { return bit_scan(s, insn, false); }
Flow bsr(State& s, const Insn& insn) { return bit_scan(s, insn, true); }

// POPCNT: all flags cleared but ZF, which says that the source is 0.
Flow popcnt(State& s, const Insn& insn) {
    u64 source = 0;
    if (!read_operand(s, insn, 1, source)) return Flow::Fault;
    write_gpr(s, insn.operand[0].reg, insn.operand[0].size, static_cast<u64>(std::popcount(source)));
    set_flags(s, rflags::Arithmetic, source == 0 ? rflags::ZF : 0);
    return Flow::Next;
}

u64 reversed_bytes(u64 value, unsigned size) {
    u64 result = 0;
    for (unsigned i = 0; i < size; ++i) result |= ((value >> (8 * i)) & 0xff) << (8 * (size - 1 - i));
    return result;
}

// BSWAP: with a 16-bit register the result is undefined; CPUs give 0.
Flow bswap(State& s, const Insn& insn) {
    const Operand& o = insn.operand[0];
    write_gpr(s, o.reg, o.size, o.size == 2 ? 0 : reversed_bytes(read_gpr(s, o.reg, o.size), o.size));
    return Flow::Next;
}

// MOVBE: load or store with the bytes turned round.
Flow movbe(State& s, const Insn& insn) {
    u64 value = 0;
    if (!read_operand(s, insn, 1, value)) return Flow::Fault;
    if (!write_operand(s, insn, 0, reversed_bytes(value, insn.operand[0].size))) return Flow::Fault;
    return Flow::Next;
}

}  // namespace

void add_bit_instructions(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_BT, bt);
    table.add(ZYDIS_MNEMONIC_BTS, bts);
    table.add(ZYDIS_MNEMONIC_BTR, btr);
    table.add(ZYDIS_MNEMONIC_BTC, btc);
    table.add(ZYDIS_MNEMONIC_BSF, bsf);
    table.add(ZYDIS_MNEMONIC_BSR, bsr);
    table.add(ZYDIS_MNEMONIC_POPCNT, popcnt);
    table.add(ZYDIS_MNEMONIC_BSWAP, bswap);
    table.add(ZYDIS_MNEMONIC_MOVBE, movbe);
}

}  // namespace dualvm::interp
