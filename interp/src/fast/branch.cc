// Fast forms of near branches: Jcc, LOOP, JRCXZ, JMP, CALL, RET; and the way from one block to the next.
#include <Zydis/Zydis.h>

#include "../descriptors.h"
#include "branch.h"
#include "conditions.h"
#include "stack.h"

namespace dualvm::interp::fast {

void link_taken(DUALVM_ARGUMENTS) {
    s->cpu.general.rip = target_of(op);
    s->link_taken = true;
    leave(s, op, ticks, flags, Leave::Link);
}

void link_fall(DUALVM_ARGUMENTS) {
    s->cpu.general.rip = next_rip_of(op);
    s->link_taken = false;
    leave(s, op, ticks, flags, Leave::Link);
}

void out_of_budget(DUALVM_ARGUMENTS) {
    s->cpu.general.rip = block_of(op)->rip;
    leave(s, op, ticks + block_of(op)->count, flags, Leave::Budget);
}

void fall_through(DUALVM_ARGUMENTS) { DUALVM_TAKE(op, fall); }

void fall_through_far(DUALVM_ARGUMENTS) { DUALVM_TAKE_FAR(op, fall); }

namespace {

struct Jcc {
    template <unsigned kCondition, class>
    static void run(DUALVM_ARGUMENTS) {
        if (condition<kCondition>(flags)) DUALVM_TAKE(op, taken);
        DUALVM_TAKE(op, fall);
    }
};

struct JccFar {
    template <unsigned kCondition, class>
    static void run(DUALVM_ARGUMENTS) {
        if (condition<kCondition>(flags)) DUALVM_TAKE_FAR(op, taken);
        DUALVM_TAKE_FAR(op, fall);
    }
};

// LOOP LOOPE LOOPNE count (R)CX down and go on while it is not 0; JCXZ JECXZ JRCXZ if it is. No flags are written.
enum class Counted : u8 { Loop, LoopEqual, LoopNotEqual, JumpIfZero };

template <Counted kWhich, class T, bool kFar>
void counted(DUALVM_ARGUMENTS) {
    T count = get<T>(s, 8 * RCX);
    if constexpr (kWhich != Counted::JumpIfZero) set<T>(s, 8 * RCX, --count);
    constexpr unsigned kEqual = 4, kNotEqual = 5;  // condition codes
    bool taken = (count == 0) == (kWhich == Counted::JumpIfZero);
    if constexpr (kWhich == Counted::LoopEqual) taken = taken && condition<kEqual>(flags);
    if constexpr (kWhich == Counted::LoopNotEqual) taken = taken && condition<kNotEqual>(flags);
    if constexpr (kFar) {
        if (taken) DUALVM_TAKE_FAR(op, taken);
        DUALVM_TAKE_FAR(op, fall);
    } else {
        if (taken) DUALVM_TAKE(op, taken);
        DUALVM_TAKE(op, fall);
    }
}

template <Counted kWhich>
Handler choose_counted(const Choice& c) {
    return by_size(c.insn->address_size, [&]<class T>() -> Handler {
        if constexpr (sizeof(T) == 1) {
            return nullptr;
        } else {
            return c.far_link ? counted<kWhich, T, true> : counted<kWhich, T, false>;
        }
    });
}

void jmp(DUALVM_ARGUMENTS) { DUALVM_TAKE(op, taken); }
void jmp_far_link(DUALVM_ARGUMENTS) { DUALVM_TAKE_FAR(op, taken); }

template <class T, bool kFar>
void call(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp - sizeof(T));
    u8* m = host_on_stack<sizeof(T)>(s->stack_write, top);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL push_elsewhere<T>(DUALVM_PASS);
    store<T>(m, static_cast<T>(op->imm));
    s->cpu.general.gpr[RSP] = sp = top;
    if constexpr (kFar) {
        DUALVM_TAKE_FAR(op, taken);
    } else {
        DUALVM_TAKE(op, taken);
    }
}

template <class T>
void ret(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp);
    const u8* m = host_on_stack<sizeof(T)>(s->stack_read, top);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL pop_elsewhere<T>(DUALVM_PASS);
    const Block* block = find_recent(*s, load<T>(m));
    if (__builtin_expect(block == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    s->cpu.general.gpr[RSP] = sp = static_cast<T>(top + sizeof(T) + op->imm);
    DUALVM_ENTER(block);
}

template <class T>
void jmp_register(DUALVM_ARGUMENTS) {
    const Block* block = find_recent(*s, get<T>(s, op->src));
    if (__builtin_expect(block == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    DUALVM_ENTER(block);
}

template <class T, Form kForm>
void jmp_memory(DUALVM_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    const Block* block = find_recent(*s, load<T>(m));
    if (__builtin_expect(block == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    DUALVM_ENTER(block);
}

template <class T>
void call_register(DUALVM_ARGUMENTS) {
    const Block* block = find_recent(*s, get<T>(s, op->src));
    if (__builtin_expect(block == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    const T top = static_cast<T>(sp - sizeof(T));
    u8* m = host_on_stack<sizeof(T)>(s->stack_write, top);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL push_elsewhere<T>(DUALVM_PASS);
    store<T>(m, static_cast<T>(op->imm));
    s->cpu.general.gpr[RSP] = sp = top;
    DUALVM_ENTER(block);
}

template <class T, Form kForm>
void call_memory(DUALVM_ARGUMENTS) {
    const u8* pointer = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (__builtin_expect(pointer == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    const Block* block = find_recent(*s, load<T>(pointer));
    if (__builtin_expect(block == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    const T top = static_cast<T>(sp - sizeof(T));
    u8* m = host_on_stack<sizeof(T)>(s->stack_write, top);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL push_elsewhere<T>(DUALVM_PASS);
    store<T>(m, static_cast<T>(op->imm));
    s->cpu.general.gpr[RSP] = sp = top;
    DUALVM_ENTER(block);
}

template <class T>
Handler choose_jmp(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind == OperandKind::Relative) return c.far_link ? jmp_far_link : jmp;
    if (a.kind == OperandKind::Gpr) {
        op.src = register_offset(a);
        return jmp_register<T>;
    }
    return by_form(c.form, []<Form kForm>() -> Handler { return jmp_memory<T, kForm>; });
}

template <class T>
Handler choose_call(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind == OperandKind::Relative) return c.far_link ? call<T, true> : call<T, false>;
    if (a.kind == OperandKind::Gpr) {
        op.src = register_offset(a);
        return call_register<T>;
    }
    return by_form(c.form, []<Form kForm>() -> Handler { return call_memory<T, kForm>; });
}

template <class T>
Handler choose_for_width(const Choice& c, Op& op, u64 next_rip) {
    const Insn& insn = *c.insn;
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_JMP: return choose_jmp<T>(c, op);
        case ZYDIS_MNEMONIC_CALL:
            if (insn.operand[0].kind == OperandKind::Memory && insn.operand[0].size != sizeof(T)) return nullptr;
            op.imm = next_rip;
            return choose_call<T>(c, op);
        case ZYDIS_MNEMONIC_RET: op.imm = insn.operand_count == 1 ? insn.operand[0].imm & 0xffff : 0; return ret<T>;
        default: return nullptr;
    }
}

}  // namespace

Handler choose_branch(const Choice& c, Op& op) {
    const Insn& insn = *c.insn;
    const bool code64 = (c.mode & ModeKey::kCodeMask) == ModeKey::kCode64;
    // An operand-size prefix cuts RIP to 16 bits outside 64-bit mode; far branches load CS: the reference's business.
    if (insn.far_branch || insn.operand_size != (code64 ? 8 : 4)) return nullptr;
    // A target that is out of reach is a fault of the branch, before it pushes anything (SDM vol. 2A, "JMP", "Jcc").
    if ((c.mode & ModeKey::kFlat) == 0) return nullptr;
    if (insn.operand_count == 1 && insn.operand[0].kind == OperandKind::Relative &&
        !is_canonical(branch_target(insn, c.next_rip)))
        return nullptr;
    if (const int code = jump_condition(insn.mnemonic); code >= 0) {
        return c.far_link ? by_condition<JccFar, void>(static_cast<unsigned>(code))
                          : by_condition<Jcc, void>(static_cast<unsigned>(code));
    }
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_LOOP: return choose_counted<Counted::Loop>(c);
        case ZYDIS_MNEMONIC_LOOPE: return choose_counted<Counted::LoopEqual>(c);
        case ZYDIS_MNEMONIC_LOOPNE: return choose_counted<Counted::LoopNotEqual>(c);
        case ZYDIS_MNEMONIC_JCXZ:
        case ZYDIS_MNEMONIC_JECXZ:
        case ZYDIS_MNEMONIC_JRCXZ: return choose_counted<Counted::JumpIfZero>(c);
        default: break;
    }
    if (!code64 && (c.mode & ModeKey::kStack32) == 0) return nullptr;
    return code64 ? choose_for_width<u64>(c, op, c.next_rip) : choose_for_width<u32>(c, op, c.next_rip);
}

}  // namespace dualvm::interp::fast
