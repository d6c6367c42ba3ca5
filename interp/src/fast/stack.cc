// Fast forms of whatever moves the stack pointer: PUSH POP LEAVE, ADD SUB AND MOV LEA to RSP.
//
// `sp` and CpuFile's RSP are one value: a handler here changes both. 64-bit mode, or 32-bit code with a 32-bit stack.
#include <Zydis/Zydis.h>

#include "stack.h"

namespace dualvm::interp::fast {

namespace {

#define DUALVM_SET_STACK_POINTER(VALUE) s->cpu.general.gpr[RSP] = sp = (VALUE)

template <class T>
void push_register(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp - sizeof(T));
    u8* m = host_in<sizeof(T)>(s->stack_write, top);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL push_elsewhere<T>(DUALVM_PASS);
    store<T>(m, get<T>(s, op->src));
    DUALVM_SET_STACK_POINTER(top);
    DUALVM_NEXT;
}

template <class T>
void push_immediate(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp - sizeof(T));
    u8* m = host_in<sizeof(T)>(s->stack_write, top);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL push_elsewhere<T>(DUALVM_PASS);
    store<T>(m, static_cast<T>(op->imm));
    DUALVM_SET_STACK_POINTER(top);
    DUALVM_NEXT;
}

template <class T>
void pop_register(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp);
    const u8* m = host_in<sizeof(T)>(s->stack_read, top);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL pop_elsewhere<T>(DUALVM_PASS);
    set<T>(s, op->dst, load<T>(m));
    DUALVM_SET_STACK_POINTER(static_cast<T>(top + sizeof(T)));
    DUALVM_NEXT;
}

// LEAVE: RSP := RBP; RBP := pop.
template <class T>
void leave_frame(DUALVM_ARGUMENTS) {
    const T frame = get<T>(s, 8 * RBP);
    const u8* m = host_to_read<sizeof(T)>(s, frame);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    set<T>(s, 8 * RBP, load<T>(m));
    DUALVM_SET_STACK_POINTER(static_cast<T>(frame + sizeof(T)));
    DUALVM_NEXT;
}

template <class Operation, class T, bool kFlags>
void compute(DUALVM_ARGUMENTS) {
    T top = static_cast<T>(sp);
    if constexpr (kFlags) {
        Operation::with_flags(top, static_cast<T>(op->imm), flags);
    } else {
        Operation::without_flags(top, static_cast<T>(op->imm));
    }
    DUALVM_SET_STACK_POINTER(top);
    DUALVM_NEXT;
}

template <class T>
void move_from_register(DUALVM_ARGUMENTS) {
    DUALVM_SET_STACK_POINTER(get<T>(s, op->src));
    DUALVM_NEXT;
}

template <class T, Form kForm>
void lea(DUALVM_ARGUMENTS) {
    DUALVM_SET_STACK_POINTER(static_cast<T>(address<kForm>(s, op)));
    DUALVM_NEXT;
}

template <class T>
Handler choose_push(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind == OperandKind::Gpr) {
        op.src = register_offset(a);
        return push_register<T>;
    }
    if (a.kind != OperandKind::Immediate) return nullptr;
    op.imm = a.imm;
    return push_immediate<T>;
}

template <class T>
Handler choose_pop(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind != OperandKind::Gpr || a.reg == RSP) return nullptr;
    op.dst = register_offset(a);
    return pop_register<T>;
}

template <class Operation, class T>
Handler choose_compute(const Choice& c, Op& op) {
    if (c.insn->operand[1].kind != OperandKind::Immediate) return nullptr;
    op.imm = c.insn->operand[1].imm;
    return c.flags_dead ? compute<Operation, T, false> : compute<Operation, T, true>;
}

template <class T>
Handler choose_for_width(const Choice& c, Op& op) {
    const Insn& insn = *c.insn;
    if (insn.operand_size != sizeof(T)) return nullptr;
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_PUSH: return choose_push<T>(c, op);
        case ZYDIS_MNEMONIC_POP: return choose_pop<T>(c, op);
        case ZYDIS_MNEMONIC_LEAVE: return leave_frame<T>;
        case ZYDIS_MNEMONIC_ADD: return choose_compute<Add, T>(c, op);
        case ZYDIS_MNEMONIC_SUB: return choose_compute<Sub, T>(c, op);
        case ZYDIS_MNEMONIC_AND: return choose_compute<And, T>(c, op);
        case ZYDIS_MNEMONIC_MOV:
            if (insn.operand[1].kind != OperandKind::Gpr) return nullptr;
            op.src = register_offset(insn.operand[1]);
            return move_from_register<T>;
        case ZYDIS_MNEMONIC_LEA:
            switch (c.form) {
                case Form::Base: return lea<T, Form::Base>;
                case Form::Address32: return lea<T, Form::Address32>;
                default: return lea<T, Form::Indexed>;  // LEA knows no segment
            }
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
        case ZYDIS_MNEMONIC_XCHG: return is_stack_pointer(0) || is_stack_pointer(1);
        default: return is_stack_pointer(0);
    }
}

Handler choose_stack(const Choice& c, Op& op) {
    if ((c.mode & ModeKey::kCodeMask) == ModeKey::kCode64) return choose_for_width<u64>(c, op);
    return (c.mode & ModeKey::kStack32) != 0 ? choose_for_width<u32>(c, op) : nullptr;
}

}  // namespace dualvm::interp::fast
