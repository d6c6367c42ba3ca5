// MOV MOVZX MOVSX MOVSXD XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B LEA CMOVcc SETcc MOVNTI.
#include "conditions.h"
#include "reference.h"
#include "reference_flags.h"
#include "system_forms.h"

namespace dualvm::interp {

namespace {

// MOV: DEST := SRC. No flags.
Flow mov(State& s, const Insn& insn) {
    for (unsigned i = 0; i < 2; ++i) {
        switch (insn.operand[i].kind) {
            case OperandKind::Segment: return mov_segment(s, insn);
            case OperandKind::Control: return mov_control(s, insn);
            case OperandKind::Debug: return mov_debug(s, insn);
            default: break;
        }
    }
    u64 value = 0;
    if (!read_operand(s, insn, 1, value) || !write_operand(s, insn, 0, value)) return Flow::Fault;
    return Flow::Next;
}

// MOVZX: DEST := ZeroExtend(SRC).
Flow movzx(State& s, const Insn& insn) {
    u64 value = 0;
    if (!read_operand(s, insn, 1, value)) return Flow::Fault;
    write_gpr(s, insn.operand[0].reg, insn.operand[0].size, value);
    return Flow::Next;
}

// MOVSX, MOVSXD: DEST := SignExtend(SRC).
Flow movsx(State& s, const Insn& insn) {
    u64 value = 0;
    if (!read_operand(s, insn, 1, value)) return Flow::Fault;
    write_gpr(s, insn.operand[0].reg, insn.operand[0].size, sign_extend(value, insn.operand[1].size));
    return Flow::Next;
}

// XCHG: both operands change places; with memory it is locked always.
Flow xchg(State& s, const Insn& insn) {
    const unsigned memory = insn.operand[1].kind == OperandKind::Memory ? 1 : 0, other = 1 - memory;
    u64 a = 0, b = 0;
    if (!read_operand_for_update(s, insn, memory, a) || !read_operand(s, insn, other, b)) return Flow::Fault;
    if (!write_operand(s, insn, memory, b) || !write_operand(s, insn, other, a)) return Flow::Fault;
    return Flow::Next;
}

// XADD: TEMP := SRC + DEST; SRC := DEST; DEST := TEMP. Flags as of ADD.
Flow xadd(State& s, const Insn& insn) {
    u64 a = 0, b = 0;
    if (!read_operand_for_update(s, insn, 0, a) || !read_operand(s, insn, 1, b)) return Flow::Fault;
    const Sum sum = add_with_flags(a, b, 0, insn.operand[0].size);
    const Operand& source = insn.operand[1];
    if (insn.operand[0].kind == OperandKind::Memory) {
        if (!write_operand(s, insn, 0, sum.result)) return Flow::Fault;
        write_gpr(s, source.reg, source.size, a, source.high8);
    } else {
        write_gpr(s, source.reg, source.size, a, source.high8);
        write_operand(s, insn, 0, sum.result);  // last: XADD AX, AX leaves the sum
    }
    set_flags(s, rflags::Arithmetic, sum.flags);
    return Flow::Next;
}

// CMPXCHG: if (R)AX = DEST then DEST := SRC, else (R)AX := DEST. Flags as of CMP (R)AX, DEST. The destination is
// written in both cases.
Flow cmpxchg(State& s, const Insn& insn) {
    const unsigned size = insn.operand[0].size;
    u64 old = 0, replacement = 0;
    if (!read_operand_for_update(s, insn, 0, old) || !read_operand(s, insn, 1, replacement)) return Flow::Fault;
    const u64 accumulator = read_gpr(s, RAX, size);
    const bool equal = accumulator == old;
    if (insn.operand[0].kind == OperandKind::Memory || equal) {
        if (!write_operand(s, insn, 0, equal ? replacement : old)) return Flow::Fault;
    }
    if (!equal) write_gpr(s, RAX, size, old);
    set_flags(s, rflags::Arithmetic, subtract_with_flags(accumulator, old, 0, size).flags);
    return Flow::Next;
}

// CMPXCHG8B, CMPXCHG16B: the same with (R)DX:(R)AX against memory and (R)CX:(R)BX as the source; ZF only. The 16-byte
// form wants an aligned operand: #GP(0).
Flow cmpxchg_pair(State& s, const Insn& insn, unsigned half) {
    u64 linear = 0;
    const u64 offset = effective_address(s, insn);
    if (!linear_address(s, insn.segment, offset, 2 * half, Access::Write, linear)) return Flow::Fault;
    if (half == 8 && (linear & 15) != 0) return s.raise(GP, 0);
    std::array<u8, 16> bytes{};
    if (!check_linear(s, linear, 2 * half, Access::Write)) return Flow::Fault;
    if (!read_linear(s, linear, bytes.data(), 2 * half)) return Flow::Fault;
    auto get = [&](unsigned at) {
        u64 value = 0;
        for (unsigned i = 0; i < half; ++i) value |= u64{bytes[at + i]} << (8 * i);
        return value;
    };
    auto put = [&](unsigned at, u64 value) {
        for (unsigned i = 0; i < half; ++i) bytes[at + i] = static_cast<u8>(value >> (8 * i));
    };
    const u64 low = get(0), high = get(half);
    const bool equal = low == read_gpr(s, RAX, half) && high == read_gpr(s, RDX, half);
    if (equal) {
        put(0, read_gpr(s, RBX, half));
        put(half, read_gpr(s, RCX, half));
    }
    if (!write_linear(s, linear, bytes.data(), 2 * half)) return Flow::Fault;
    if (!equal) {
        write_gpr(s, RAX, half, low);
        write_gpr(s, RDX, half, high);
    }
    set_flags(s, rflags::ZF, equal ? rflags::ZF : 0);
    return Flow::Next;
}
Flow cmpxchg8b(State& s, const Insn& insn) { return cmpxchg_pair(s, insn, 4); }
Flow cmpxchg16b(State& s, const Insn& insn) { return cmpxchg_pair(s, insn, 8); }

// LEA: the offset, cut or zero-extended to the operand size; memory is not touched.
Flow lea(State& s, const Insn& insn) {
    write_gpr(s, insn.operand[0].reg, insn.operand[0].size, effective_address(s, insn));
    return Flow::Next;
}

// CMOVcc: the source is read (and may fault) even if the condition is false; a 32-bit destination is zero-extended
// either way.
Flow cmov(State& s, const Insn& insn) {
    u64 value = 0;
    if (!read_operand(s, insn, 1, value)) return Flow::Fault;
    const Operand& to = insn.operand[0];
    write_gpr(s, to.reg, to.size, condition_holds(s, insn) ? value : read_gpr(s, to.reg, to.size));
    return Flow::Next;
}

// SETcc: a byte, 1 or 0.
Flow setcc(State& s, const Insn& insn) {
    return write_operand(s, insn, 0, condition_holds(s, insn) ? 1 : 0) ? Flow::Next : Flow::Fault;
}

}  // namespace

void add_data_movement(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_MOV, mov);
    table.add(ZYDIS_MNEMONIC_MOVNTI, mov);  // the non-temporal hint means nothing to one CPU without caches
    table.add(ZYDIS_MNEMONIC_MOVZX, movzx);
    table.add(ZYDIS_MNEMONIC_MOVSX, movsx);
    table.add(ZYDIS_MNEMONIC_MOVSXD, movsx);
    table.add(ZYDIS_MNEMONIC_XCHG, xchg);
    table.add(ZYDIS_MNEMONIC_XADD, xadd);
    table.add(ZYDIS_MNEMONIC_CMPXCHG, cmpxchg);
    table.add(ZYDIS_MNEMONIC_CMPXCHG8B, cmpxchg8b);
    table.add(ZYDIS_MNEMONIC_CMPXCHG16B, cmpxchg16b);
    table.add(ZYDIS_MNEMONIC_LEA, lea);
    DUALVM_ADD_CONDITIONS(table, ZYDIS_MNEMONIC_CMOV, cmov)
    DUALVM_ADD_CONDITIONS(table, ZYDIS_MNEMONIC_SET, setcc)
}

}  // namespace dualvm::interp
