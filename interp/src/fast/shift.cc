// Fast forms of ROL ROR RCL RCR SHL SHR SAR, SHLD and SHRD: choosing them.
#include "shift.h"

#include <Zydis/Zydis.h>

namespace dualvm::interp::fast {

namespace {

template <class Operation>
Handler choose_simple_shift(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    const bool immediate = b.kind == OperandKind::Immediate;
    if (immediate) op.imm = b.imm;
    if (a.kind == OperandKind::Gpr) op.dst = register_offset(a);
    return by_size(a.size, [&]<class T>() -> Handler {
        if (a.kind == OperandKind::Memory) {
            return by_form(c.form, [&]<Form kForm>() -> Handler {
                return immediate ? single<shift_memory_immediate<Operation, T, kForm>>
                                 : single<shift_memory_cl<Operation, T, kForm>>;
            });
        }
        if (immediate) {
            return c.flags_dead ? single<shift_immediate<Operation, T, false>>
                                : single<shift_immediate<Operation, T, true>>;
        }
        return c.flags_dead ? single<shift_cl<Operation, T, false>> : single<shift_cl<Operation, T, true>>;
    });
}

// RCL, RCR by 1, as in shifts of numbers of many words; by more, OF is undefined: the reference says which it is.
template <class Operation>
Handler choose_carry_rotate(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (b.kind != OperandKind::Immediate || b.imm != 1) return nullptr;
    op.imm = b.imm;
    if (a.kind == OperandKind::Gpr) op.dst = register_offset(a);
    return by_size(a.size, [&]<class T>() -> Handler {
        if (a.kind == OperandKind::Gpr) return single<shift_immediate<Operation, T, true>>;
        return by_form(c.form,
                       []<Form kForm>() -> Handler { return single<shift_memory_immediate<Operation, T, kForm>>; });
    });
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
        return a.size == 8 ? single<double_shift_immediate<Operation, u64>>
                           : single<double_shift_immediate<Operation, u32>>;
    }
    return a.size == 8 ? single<double_shift_cl<Operation, u64>> : single<double_shift_cl<Operation, u32>>;
}

}  // namespace

Handler choose_shift(const Choice& c, Op& op) {
    switch (c.insn->mnemonic) {
        case ZYDIS_MNEMONIC_ROL: return choose_simple_shift<Rol>(c, op);
        case ZYDIS_MNEMONIC_ROR: return choose_simple_shift<Ror>(c, op);
        case ZYDIS_MNEMONIC_SHL: return choose_simple_shift<Shl>(c, op);
        case ZYDIS_MNEMONIC_SHR: return choose_simple_shift<Shr>(c, op);
        case ZYDIS_MNEMONIC_SAR: return choose_simple_shift<Sar>(c, op);
        case ZYDIS_MNEMONIC_RCL: return choose_carry_rotate<Rcl>(c, op);
        case ZYDIS_MNEMONIC_RCR: return choose_carry_rotate<Rcr>(c, op);
        case ZYDIS_MNEMONIC_SHLD: return choose_double_shift<Shld>(c, op);
        case ZYDIS_MNEMONIC_SHRD: return choose_double_shift<Shrd>(c, op);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
