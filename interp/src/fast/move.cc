// Fast forms of MOV MOVZX MOVSX MOVSXD LEA BSWAP, CBW.. CQO, CMOVcc SETcc, CLC STC CMC CLD STD, NOP: choosing
// them.
#include "move.h"

#include <Zydis/Zydis.h>

#include "conditions.h"

namespace dualvm::interp::fast {

namespace {

DUALVM_STEP nop(DUALVM_STEP_ARGUMENTS) { return true; }

struct CmovRegister {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        // A 32-bit CMOV clears the upper half even when it does not move (SDM vol. 2A, "CMOVcc").
        const T a = get<T>(s, op->dst), b = get<T>(s, op->src);
        set<T>(s, op->dst, condition<kCondition>(flags) ? b : a);
        DUALVM_NEXT;
    }
};

template <Form kForm>
struct CmovMemory {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        // The memory is read, and may fault, even when nothing moves.
        const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
        if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
        const T a = get<T>(s, op->dst), b = load<T>(m);
        set<T>(s, op->dst, condition<kCondition>(flags) ? b : a);
        DUALVM_NEXT;
    }
};

struct SetRegister {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        set<T>(s, op->dst, static_cast<T>(condition<kCondition>(flags) ? 1 : 0));
        DUALVM_NEXT;
    }
};

template <Form kForm>
struct SetMemory {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
        if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
        store<T>(m, static_cast<T>(condition<kCondition>(flags) ? 1 : 0));
        DUALVM_NEXT;
    }
};

template <class T>
Handler choose_mov_sized(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (b.kind == OperandKind::Gpr) op.src = register_offset(b);
    if (b.kind == OperandKind::Immediate) op.imm = b.imm;
    if (a.kind == OperandKind::Gpr) {
        op.dst = register_offset(a);
        if (b.kind == OperandKind::Gpr) return single<mov_register<T>>;
        if (b.kind == OperandKind::Immediate) return single<mov_immediate<T>>;
        if (b.kind != OperandKind::Memory) return nullptr;
        return by_form(c.form, []<Form kForm>() -> Handler { return single<mov_load<T, kForm>>; });
    }
    if (a.kind != OperandKind::Memory) return nullptr;
    if (b.kind == OperandKind::Gpr) {
        return by_form(c.form, []<Form kForm>() -> Handler { return single<mov_store<T, kForm>>; });
    }
    if (b.kind != OperandKind::Immediate) return nullptr;
    return by_form(c.form, []<Form kForm>() -> Handler { return single<mov_store_immediate<T, kForm>>; });
}

Handler choose_mov(const Choice& c, Op& op) {
    return by_size(c.insn->operand[0].size, [&]<class T>() { return choose_mov_sized<T>(c, op); });
}

template <class To, class From>
Handler choose_extend_between(const Choice& c, Op& op) {
    const Operand& b = c.insn->operand[1];
    if (b.kind == OperandKind::Gpr) {
        op.src = register_offset(b);
        return single<extend_register<To, From>>;
    }
    return by_form(c.form, []<Form kForm>() -> Handler { return single<extend_load<To, From, kForm>>; });
}

template <class I16, class I32, class I64, class From>
Handler choose_extend_from(const Choice& c, Op& op) {
    switch (c.insn->operand[0].size) {
        case 2: return choose_extend_between<I16, From>(c, op);
        case 4: return choose_extend_between<I32, From>(c, op);
        case 8: return choose_extend_between<I64, From>(c, op);
        default: return nullptr;
    }
}

Handler choose_extend(const Choice& c, Op& op, bool is_signed) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (b.size >= a.size && !(b.size == 4 && a.size == 4)) return nullptr;  // MOVSXD r16, r16 and the like
    op.dst = register_offset(a);
    switch (b.size) {
        case 1:
            return is_signed ? choose_extend_from<i16, i32, i64, i8>(c, op)
                             : choose_extend_from<u16, u32, u64, u8>(c, op);
        case 2:
            if (a.size == 2) return nullptr;
            return is_signed ? choose_extend_from<i32, i32, i64, i16>(c, op)
                             : choose_extend_from<u32, u32, u64, u16>(c, op);
        case 4: return a.size == 8 ? choose_extend_between<i64, i32>(c, op) : nullptr;
        default: return nullptr;
    }
}

Handler choose_lea(const Choice& c, Op& op) {
    op.dst = register_offset(c.insn->operand[0]);
    const Form form = c.form == Form::Segment ? Form::Indexed : c.form;  // LEA knows no segment
    return by_size(c.insn->operand[0].size, [&]<class T>() {
        return by_form(form, []<Form kForm>() -> Handler { return single<lea<T, kForm>>; });
    });
}

Handler choose_cmov(const Choice& c, Op& op, unsigned condition_code) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    op.dst = register_offset(a);
    if (b.kind == OperandKind::Memory) {
        return by_form(c.form, [&]<Form kForm>() -> Handler {
            if (a.size == 8) return by_condition<CmovMemory<kForm>, u64>(condition_code);
            return a.size == 4 ? by_condition<CmovMemory<kForm>, u32>(condition_code) : nullptr;
        });
    }
    op.src = register_offset(b);
    switch (a.size) {
        case 2: return by_condition<CmovRegister, u16>(condition_code);
        case 4: return by_condition<CmovRegister, u32>(condition_code);
        default: return by_condition<CmovRegister, u64>(condition_code);
    }
}

Handler choose_setcc(const Choice& c, Op& op, unsigned condition_code) {
    const Operand& a = c.insn->operand[0];
    if (a.kind == OperandKind::Memory) {
        return by_form(c.form, [&]<Form kForm>() { return by_condition<SetMemory<kForm>, u8>(condition_code); });
    }
    op.dst = register_offset(a);
    return by_condition<SetRegister, u8>(condition_code);
}

}  // namespace

Handler choose_move(const Choice& c, Op& op) {
    const Insn& insn = *c.insn;
    if (const int code = cmov_condition(insn.mnemonic); code >= 0)
        return choose_cmov(c, op, static_cast<unsigned>(code));
    if (const int code = set_condition(insn.mnemonic); code >= 0)
        return choose_setcc(c, op, static_cast<unsigned>(code));
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_MOV:
        case ZYDIS_MNEMONIC_MOVNTI: return choose_mov(c, op);
        case ZYDIS_MNEMONIC_MOVZX: return choose_extend(c, op, false);
        case ZYDIS_MNEMONIC_MOVSX:
        case ZYDIS_MNEMONIC_MOVSXD: return choose_extend(c, op, true);
        case ZYDIS_MNEMONIC_LEA: return choose_lea(c, op);
        case ZYDIS_MNEMONIC_BSWAP:
            op.dst = register_offset(insn.operand[0]);
            if (insn.operand[0].size == 8) return single<bswap<u64>>;
            return insn.operand[0].size == 4 ? single<bswap<u32>> : nullptr;
        case ZYDIS_MNEMONIC_CBW: return single<sign_extend_accumulator<i16, i8>>;
        case ZYDIS_MNEMONIC_CWDE: return single<sign_extend_accumulator<i32, i16>>;
        case ZYDIS_MNEMONIC_CDQE: return single<sign_extend_accumulator<i64, i32>>;
        case ZYDIS_MNEMONIC_CWD: return single<sign_of_accumulator<i16>>;
        case ZYDIS_MNEMONIC_CDQ: return single<sign_of_accumulator<i32>>;
        case ZYDIS_MNEMONIC_CQO: return single<sign_of_accumulator<i64>>;
        case ZYDIS_MNEMONIC_CLC: return single<change_carry<Carry::Clear>>;
        case ZYDIS_MNEMONIC_STC: return single<change_carry<Carry::Set>>;
        case ZYDIS_MNEMONIC_CMC: return single<change_carry<Carry::Complement>>;
        case ZYDIS_MNEMONIC_CLD: return single<change_direction<false>>;
        case ZYDIS_MNEMONIC_STD: return single<change_direction<true>>;
        case ZYDIS_MNEMONIC_NOP:
        case ZYDIS_MNEMONIC_PAUSE: return single<nop>;
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
