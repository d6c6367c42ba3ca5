// Fast forms of whatever moves the stack pointer: PUSH POP LEAVE, ADD SUB AND MOV LEA to RSP. 64-bit mode, or 32-bit
// code with a 32-bit stack.
#include "stack.h"

#include <Zydis/Zydis.h>

namespace dualvm::interp::fast {

namespace {

template <class T>
Handler choose_push(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind == OperandKind::Gpr) {
        op.src = register_offset(a);
        return single<push_register<T>>;
    }
    if (a.kind == OperandKind::Memory) {
        return by_form(c.form, []<Form kForm>() -> Handler { return single<push_memory<T, kForm>>; });
    }
    if (a.kind != OperandKind::Immediate) return nullptr;
    op.imm = a.imm;
    return single<push_immediate<T>>;
}

template <class T>
Handler choose_pop(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind != OperandKind::Gpr || a.reg == RSP) return nullptr;
    op.dst = register_offset(a);
    return single<pop_register<T>>;
}

template <class Operation, class T>
Handler choose_compute(const Choice& c, Op& op) {
    if (c.insn->operand[1].kind != OperandKind::Immediate) return nullptr;
    op.imm = c.insn->operand[1].imm;
    return c.flags_dead ? single<compute_stack_pointer<Operation, T, false>>
                        : single<compute_stack_pointer<Operation, T, true>>;
}

template <class T>
Handler choose_for_width(const Choice& c, Op& op) {
    const Insn& insn = *c.insn;
    if (insn.operand_size != sizeof(T)) return nullptr;
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_PUSH: return choose_push<T>(c, op);
        case ZYDIS_MNEMONIC_POP: return choose_pop<T>(c, op);
        case ZYDIS_MNEMONIC_LEAVE: return single<leave_frame<T>>;
        case ZYDIS_MNEMONIC_ADD: return choose_compute<Add, T>(c, op);
        case ZYDIS_MNEMONIC_SUB: return choose_compute<Sub, T>(c, op);
        case ZYDIS_MNEMONIC_AND: return choose_compute<And, T>(c, op);
        case ZYDIS_MNEMONIC_MOV:
            if (insn.operand[1].kind != OperandKind::Gpr) return nullptr;
            op.src = register_offset(insn.operand[1]);
            return single<mov_stack_pointer<T>>;
        case ZYDIS_MNEMONIC_LEA:
            return by_form(c.form == Form::Segment ? Form::Indexed : c.form,  // LEA knows no segment
                           []<Form kForm>() -> Handler { return single<lea_stack_pointer<T, kForm>>; });
        default: return nullptr;
    }
}

}  // namespace

bool moves_stack_pointer(const Insn& insn) {
    auto is_stack_pointer = [&](unsigned i) {
        return insn.operand_count > i && insn.operand[i].kind == OperandKind::Gpr && insn.operand[i].reg == RSP;
    };
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_PUSH:
        case ZYDIS_MNEMONIC_POP:
        case ZYDIS_MNEMONIC_LEAVE: return true;
        case ZYDIS_MNEMONIC_CMP:
        case ZYDIS_MNEMONIC_TEST: return false;
        case ZYDIS_MNEMONIC_XCHG:
        case ZYDIS_MNEMONIC_XADD: return is_stack_pointer(0) || is_stack_pointer(1);
        default: return is_stack_pointer(0);
    }
}

Handler choose_stack(const Choice& c, Op& op) {
    if ((c.mode & ModeKey::kCodeMask) == ModeKey::kCode64) return choose_for_width<u64>(c, op);
    return (c.mode & ModeKey::kStack32) != 0 ? choose_for_width<u32>(c, op) : nullptr;
}

}  // namespace dualvm::interp::fast
