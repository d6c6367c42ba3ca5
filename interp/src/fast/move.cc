// Fast forms of MOV MOVZX MOVSX MOVSXD LEA XCHG BSWAP, CBW.. CQO, CMOVcc SETcc, NOP.
#include <Zydis/Zydis.h>

#include <algorithm>

#include "conditions.h"
#include "handler.h"

namespace dualvm::interp::fast {

namespace {

template <class T>
void mov_register(DUALVM_ARGUMENTS) {
    set<T>(s, op->dst, get<T>(s, op->src));
    DUALVM_NEXT;
}

template <class T>
void mov_immediate(DUALVM_ARGUMENTS) {
    set<T>(s, op->dst, static_cast<T>(op->imm));
    DUALVM_NEXT;
}

template <class T, Form kForm>
void mov_load(DUALVM_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    set<T>(s, op->dst, load<T>(m));
    DUALVM_NEXT;
}

template <class T, Form kForm>
void mov_store(DUALVM_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    store<T>(m, get<T>(s, op->src));
    DUALVM_NEXT;
}

template <class T, Form kForm>
void mov_store_immediate(DUALVM_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    store<T>(m, static_cast<T>(op->imm));
    DUALVM_NEXT;
}

// MOVZX and MOVSX: To and From are both signed or both unsigned.
template <class To, class From>
void extend_register(DUALVM_ARGUMENTS) {
    set<std::make_unsigned_t<To>>(s, op->dst, static_cast<std::make_unsigned_t<To>>(To{get<From>(s, op->src)}));
    DUALVM_NEXT;
}

template <class To, class From, Form kForm>
void extend_load(DUALVM_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(From)>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    set<std::make_unsigned_t<To>>(s, op->dst, static_cast<std::make_unsigned_t<To>>(To{load<From>(m)}));
    DUALVM_NEXT;
}

template <class T, Form kForm>
void lea(DUALVM_ARGUMENTS) {
    set<T>(s, op->dst, static_cast<T>(address<kForm>(s, op)));
    DUALVM_NEXT;
}

template <class T>
void xchg_registers(DUALVM_ARGUMENTS) {
    const T a = get<T>(s, op->dst), b = get<T>(s, op->src);
    set<T>(s, op->dst, b);
    set<T>(s, op->src, a);
    DUALVM_NEXT;
}

template <class T>
void bswap(DUALVM_ARGUMENTS) {
    const T a = get<T>(s, op->dst);
    if constexpr (sizeof(T) == 8) {
        set<T>(s, op->dst, __builtin_bswap64(a));
    } else {
        set<T>(s, op->dst, __builtin_bswap32(a));
    }
    DUALVM_NEXT;
}

// CBW, CWDE, CDQE: RAX := sign extension of its lower half.
template <class To, class From>
void sign_extend_accumulator(DUALVM_ARGUMENTS) {
    set<std::make_unsigned_t<To>>(s, 8 * RAX, static_cast<std::make_unsigned_t<To>>(To{get<From>(s, 8 * RAX)}));
    DUALVM_NEXT;
}

// CWD, CDQ, CQO: RDX := the sign of RAX.
template <class T>
void sign_of_accumulator(DUALVM_ARGUMENTS) {
    set<std::make_unsigned_t<T>>(s, 8 * RDX, static_cast<std::make_unsigned_t<T>>(get<T>(s, 8 * RAX) < 0 ? -1 : 0));
    DUALVM_NEXT;
}

struct CmovRegister {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        // A 32-bit CMOV clears the upper half even when it does not move (SDM vol. 2A, "CMOVcc").
        const T a = get<T>(s, op->dst), b = get<T>(s, op->src);
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

void nop(DUALVM_ARGUMENTS) { DUALVM_NEXT; }

// --- choosing
// ---------------------------------------------------------------------------------------------------------

template <class T>
Handler choose_mov_sized(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind == OperandKind::Gpr) {
        op.dst = register_offset(a);
        if (b.kind == OperandKind::Gpr) {
            op.src = register_offset(b);
            return mov_register<T>;
        }
        if (b.kind == OperandKind::Immediate) {
            op.imm = b.imm;
            return mov_immediate<T>;
        }
        if (b.kind != OperandKind::Memory) return nullptr;
        switch (c.form) {
            case Form::Base: return mov_load<T, Form::Base>;
            case Form::Indexed: return mov_load<T, Form::Indexed>;
            case Form::Segment: return mov_load<T, Form::Segment>;
            case Form::Address32: return mov_load<T, Form::Address32>;
        }
    }
    if (a.kind != OperandKind::Memory) return nullptr;
    if (b.kind == OperandKind::Gpr) {
        op.src = register_offset(b);
        switch (c.form) {
            case Form::Base: return mov_store<T, Form::Base>;
            case Form::Indexed: return mov_store<T, Form::Indexed>;
            case Form::Segment: return mov_store<T, Form::Segment>;
            case Form::Address32: return mov_store<T, Form::Address32>;
        }
    }
    if (b.kind != OperandKind::Immediate) return nullptr;
    op.imm = b.imm;
    switch (c.form) {
        case Form::Base: return mov_store_immediate<T, Form::Base>;
        case Form::Indexed: return mov_store_immediate<T, Form::Indexed>;
        case Form::Segment: return mov_store_immediate<T, Form::Segment>;
        case Form::Address32: return mov_store_immediate<T, Form::Address32>;
    }
    return nullptr;
}

Handler choose_mov(const Choice& c, Op& op) {
    switch (c.insn->operand[0].size) {
        case 1: return choose_mov_sized<u8>(c, op);
        case 2: return choose_mov_sized<u16>(c, op);
        case 4: return choose_mov_sized<u32>(c, op);
        case 8: return choose_mov_sized<u64>(c, op);
        default: return nullptr;
    }
}

template <class To, class From>
Handler choose_extend_between(const Choice& c, Op& op) {
    const Operand& b = c.insn->operand[1];
    if (b.kind == OperandKind::Gpr) {
        op.src = register_offset(b);
        return extend_register<To, From>;
    }
    switch (c.form) {
        case Form::Base: return extend_load<To, From, Form::Base>;
        case Form::Indexed: return extend_load<To, From, Form::Indexed>;
        case Form::Segment: return extend_load<To, From, Form::Segment>;
        case Form::Address32: return extend_load<To, From, Form::Address32>;
    }
    return nullptr;
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

template <class T>
Handler choose_lea_sized(const Choice& c) {
    switch (c.form) {
        case Form::Base: return lea<T, Form::Base>;
        case Form::Address32: return lea<T, Form::Address32>;
        default: return lea<T, Form::Indexed>;  // LEA knows no segment
    }
}

Handler choose_lea(const Choice& c, Op& op) {
    op.dst = register_offset(c.insn->operand[0]);
    switch (c.insn->operand[0].size) {
        case 2: return choose_lea_sized<u16>(c);
        case 4: return choose_lea_sized<u32>(c);
        default: return choose_lea_sized<u64>(c);
    }
}

Handler choose_xchg(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind != OperandKind::Gpr || b.kind != OperandKind::Gpr) return nullptr;
    op.dst = register_offset(a);
    op.src = register_offset(b);
    switch (a.size) {
        case 1: return xchg_registers<u8>;
        case 2: return xchg_registers<u16>;
        case 4: return xchg_registers<u32>;
        default: return xchg_registers<u64>;
    }
}

template <class T>
Handler choose_cmov_sized(unsigned condition_code) {
    return by_condition<CmovRegister, T>(condition_code);
}

Handler choose_cmov(const Choice& c, Op& op, unsigned condition_code) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (b.kind != OperandKind::Gpr) return nullptr;
    op.dst = register_offset(a);
    op.src = register_offset(b);
    switch (a.size) {
        case 2: return choose_cmov_sized<u16>(condition_code);
        case 4: return choose_cmov_sized<u32>(condition_code);
        default: return choose_cmov_sized<u64>(condition_code);
    }
}

Handler choose_setcc(const Choice& c, Op& op, unsigned condition_code) {
    const Operand& a = c.insn->operand[0];
    if (a.kind != OperandKind::Gpr) return nullptr;
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
        case ZYDIS_MNEMONIC_MOV: return choose_mov(c, op);
        case ZYDIS_MNEMONIC_MOVZX: return choose_extend(c, op, false);
        case ZYDIS_MNEMONIC_MOVSX:
        case ZYDIS_MNEMONIC_MOVSXD: return choose_extend(c, op, true);
        case ZYDIS_MNEMONIC_LEA: return choose_lea(c, op);
        case ZYDIS_MNEMONIC_XCHG: return choose_xchg(c, op);
        case ZYDIS_MNEMONIC_BSWAP:
            op.dst = register_offset(insn.operand[0]);
            return insn.operand[0].size == 8 ? bswap<u64> : insn.operand[0].size == 4 ? bswap<u32> : nullptr;
        case ZYDIS_MNEMONIC_CBW: return sign_extend_accumulator<i16, i8>;
        case ZYDIS_MNEMONIC_CWDE: return sign_extend_accumulator<i32, i16>;
        case ZYDIS_MNEMONIC_CDQE: return sign_extend_accumulator<i64, i32>;
        case ZYDIS_MNEMONIC_CWD: return sign_of_accumulator<i16>;
        case ZYDIS_MNEMONIC_CDQ: return sign_of_accumulator<i32>;
        case ZYDIS_MNEMONIC_CQO: return sign_of_accumulator<i64>;
        case ZYDIS_MNEMONIC_NOP:
        case ZYDIS_MNEMONIC_PAUSE: return nop;
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
