// Fast forms of ROL ROR SHL SHR SAR and SHLD SHRD on registers, BT and bit scans.
#include <Zydis/Zydis.h>

#include "handler.h"

namespace dualvm::interp::fast {

namespace {

template <class Operation, class T, bool kFlags>
void shift_immediate(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    if constexpr (kFlags) {
        Operation::with_flags(a, static_cast<u8>(op->imm), flags);
    } else {
        Operation::without_flags(a, static_cast<u8>(op->imm));
    }
    set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class Operation, class T, bool kFlags>
void shift_cl(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    const u8 count = get<u8>(s, 8 * RCX);
    if constexpr (kFlags) {
        Operation::with_flags(a, count, flags);
    } else {
        Operation::without_flags(a, count);
    }
    set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class Operation, class T>
void double_shift_immediate(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    Operation::with_flags(a, get<T>(s, op->src), static_cast<u8>(op->imm), flags);
    set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class Operation, class T>
void double_shift_cl(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    Operation::with_flags(a, get<T>(s, op->src), get<u8>(s, 8 * RCX), flags);
    set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

// BT register, register or immediate: CF := the bit; the others as the host leaves them (ZF unchanged, SDM "BT").
template <class T>
inline void bit_test(T a, T index, u32& flags) {
    asm(DUALVM_RESTORE_FLAGS "bt %2, %1" DUALVM_KEEP_FLAGS : "+a"(flags) : "r"(a), "r"(index) : "cc");
}

template <class T>
void bt_register(DUALVM_ARGUMENTS) {
    bit_test<T>(get<T>(s, op->dst), get<T>(s, op->src), flags);
    DUALVM_NEXT;
}

template <class T>
void bt_immediate(DUALVM_ARGUMENTS) {
    bit_test<T>(get<T>(s, op->dst), static_cast<T>(op->imm), flags);
    DUALVM_NEXT;
}

template <class Operation, class T>
Handler choose_shift_sized(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind != OperandKind::Gpr) return nullptr;
    op.dst = register_offset(a);
    if (b.kind == OperandKind::Immediate) {
        op.imm = b.imm;
        return c.flags_dead ? shift_immediate<Operation, T, false> : shift_immediate<Operation, T, true>;
    }
    return c.flags_dead ? shift_cl<Operation, T, false> : shift_cl<Operation, T, true>;
}

template <class Operation>
Handler choose_simple_shift(const Choice& c, Op& op) {
    switch (c.insn->operand[0].size) {
        case 1: return choose_shift_sized<Operation, u8>(c, op);
        case 2: return choose_shift_sized<Operation, u16>(c, op);
        case 4: return choose_shift_sized<Operation, u32>(c, op);
        default: return choose_shift_sized<Operation, u64>(c, op);
    }
}

template <class Operation>
Handler choose_double_shift(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &count = c.insn->operand[2];
    // 16-bit double shifts have undefined results for counts over 16: the reference says which.
    if (a.kind != OperandKind::Gpr || a.size < 4) return nullptr;
    op.dst = register_offset(a);
    op.src = register_offset(c.insn->operand[1]);
    if (count.kind == OperandKind::Immediate) {
        op.imm = count.imm;
        return a.size == 8 ? double_shift_immediate<Operation, u64> : double_shift_immediate<Operation, u32>;
    }
    return a.size == 8 ? double_shift_cl<Operation, u64> : double_shift_cl<Operation, u32>;
}

Handler choose_bit_test(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind != OperandKind::Gpr || a.size < 4) return nullptr;
    op.dst = register_offset(a);
    if (b.kind == OperandKind::Immediate) {
        op.imm = b.imm;
        return a.size == 8 ? bt_immediate<u64> : bt_immediate<u32>;
    }
    op.src = register_offset(b);
    return a.size == 8 ? bt_register<u64> : bt_register<u32>;
}

}  // namespace

Handler choose_shift(const Choice& c, Op& op) {
    switch (c.insn->mnemonic) {
        case ZYDIS_MNEMONIC_ROL: return choose_simple_shift<Rol>(c, op);
        case ZYDIS_MNEMONIC_ROR: return choose_simple_shift<Ror>(c, op);
        case ZYDIS_MNEMONIC_SHL: return choose_simple_shift<Shl>(c, op);
        case ZYDIS_MNEMONIC_SHR: return choose_simple_shift<Shr>(c, op);
        case ZYDIS_MNEMONIC_SAR: return choose_simple_shift<Sar>(c, op);
        case ZYDIS_MNEMONIC_SHLD: return choose_double_shift<Shld>(c, op);
        case ZYDIS_MNEMONIC_SHRD: return choose_double_shift<Shrd>(c, op);
        case ZYDIS_MNEMONIC_BT: return choose_bit_test(c, op);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
