// Fast forms of the SSE moves: whole registers, their parts, to and from memory and general registers.
#include <Zydis/Zydis.h>

#include "sse_move.h"

namespace dualvm::interp::fast {

namespace {

template <bool kAligned>
Handler choose_whole(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind == OperandKind::Memory) {
        if (b.kind != OperandKind::Xmm) return nullptr;
        op.src = vector_offset(b.reg);
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<store_whole<kAligned, kForm>>; });
    }
    if (a.kind != OperandKind::Xmm) return nullptr;
    op.dst = vector_offset(a.reg);
    if (b.kind == OperandKind::Memory)
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<load_whole<kAligned, kForm>>; });
    op.src = vector_offset(b.reg);
    return single<move_register>;
}

template <class Load, class Move, class Store>
Handler choose_part(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind == OperandKind::Memory) {
        if (b.kind != OperandKind::Xmm) return nullptr;
        op.src = vector_offset(b.reg);
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<store_part<Store, kForm>>; });
    }
    if (a.kind != OperandKind::Xmm) return nullptr;  // MOVSD, the string instruction
    op.dst = vector_offset(a.reg);
    if (b.kind == OperandKind::Memory)
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<sse_memory<Load, kForm>>; });
    op.src = vector_offset(b.reg);
    return single<sse_register<Move>>;
}

template <class T, class Load, class Store>
Handler choose_integer(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind == OperandKind::Xmm) {
        op.dst = vector_offset(a.reg);
        if (b.kind == OperandKind::Memory)
            return by_form(c.form, [&]<Form kForm>() -> Handler { return single<sse_memory<Load, kForm>>; });
        op.src = b.kind == OperandKind::Xmm ? vector_offset(b.reg) : register_offset(b);
        return single<sse_register<Load>>;
    }
    if (b.kind != OperandKind::Xmm) return nullptr;  // MMX
    op.src = vector_offset(b.reg);
    if (a.kind == OperandKind::Memory)
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<store_part<Store, kForm>>; });
    op.dst = register_offset(a);
    return single<to_gpr<T>>;
}

// --- the signs of a register's elements, to a general register
// --------------------------------------------------------

#define DUALVM_SSE_SIGNS(NAME, TEXT)                                     \
    DUALVM_STEP NAME(DUALVM_STEP_ARGUMENTS) {                            \
        u32 signs;                                                       \
        asm(TEXT " %1, %0" : "=r"(signs) : "x"(get_vector(s, op->src))); \
        set<u32>(s, op->dst, signs);                                     \
        return true;                                                     \
    }
DUALVM_SSE_SIGNS(movmskps, "movmskps")
DUALVM_SSE_SIGNS(movmskpd, "movmskpd")
DUALVM_SSE_SIGNS(pmovmskb, "pmovmskb")
#undef DUALVM_SSE_SIGNS

Handler choose_signs(const Choice& c, Op& op, Handler handler) {
    if (c.insn->operand[1].kind != OperandKind::Xmm) return nullptr;
    op.dst = register_offset(c.insn->operand[0]);
    op.src = vector_offset(c.insn->operand[1].reg);
    return handler;
}

}  // namespace

Handler choose_sse_move(const Choice& c, Op& op) {
    switch (c.insn->mnemonic) {
        case ZYDIS_MNEMONIC_MOVAPS:
        case ZYDIS_MNEMONIC_MOVAPD:
        case ZYDIS_MNEMONIC_MOVDQA:
        case ZYDIS_MNEMONIC_MOVNTPS:
        case ZYDIS_MNEMONIC_MOVNTPD:
        case ZYDIS_MNEMONIC_MOVNTDQ:
        case ZYDIS_MNEMONIC_MOVNTDQA: return choose_whole<true>(c, op);
        case ZYDIS_MNEMONIC_MOVUPS:
        case ZYDIS_MNEMONIC_MOVUPD:
        case ZYDIS_MNEMONIC_MOVDQU:
        case ZYDIS_MNEMONIC_LDDQU: return choose_whole<false>(c, op);
        case ZYDIS_MNEMONIC_MOVSS: return choose_part<LoadSingle, MoveSingle, StoreSingle>(c, op);
        case ZYDIS_MNEMONIC_MOVSD: return choose_part<LoadDouble, MoveDouble, StoreDouble>(c, op);
        case ZYDIS_MNEMONIC_MOVLPS:
        case ZYDIS_MNEMONIC_MOVLPD:
        case ZYDIS_MNEMONIC_MOVHLPS: return choose_part<LoadLow, MoveHighToLow, StoreDouble>(c, op);
        case ZYDIS_MNEMONIC_MOVHPS:
        case ZYDIS_MNEMONIC_MOVHPD:
        case ZYDIS_MNEMONIC_MOVLHPS: return choose_part<LoadHigh, MoveLowToHigh, StoreHigh>(c, op);
        case ZYDIS_MNEMONIC_MOVD: return choose_integer<u32, LoadSingle, StoreSingle>(c, op);
        case ZYDIS_MNEMONIC_MOVQ: return choose_integer<u64, LoadDouble, StoreDouble>(c, op);
        case ZYDIS_MNEMONIC_MOVMSKPS: return choose_signs(c, op, single<movmskps>);
        case ZYDIS_MNEMONIC_MOVMSKPD: return choose_signs(c, op, single<movmskpd>);
        case ZYDIS_MNEMONIC_PMOVMSKB: return choose_signs(c, op, single<pmovmskb>);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
