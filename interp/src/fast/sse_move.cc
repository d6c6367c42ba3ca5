// Fast forms of the SSE moves: whole registers, their parts, to and from memory and general registers.
#include <Zydis/Zydis.h>

#include "sse.h"

namespace dualvm::interp::fast {

namespace {

// --- whole registers
// --------------------------------------------------------------------------------------------------

void move_register(DUALVM_ARGUMENTS) {
    set_vector(s, op->dst, get_vector(s, op->src));
    DUALVM_NEXT;
}

template <bool kAligned, Form kForm>
void load_whole(DUALVM_ARGUMENTS) {
    const u64 linear = address<kForm>(s, op);
    const u8* m = kAligned ? host_to_read_aligned(s, linear) : host_to_read<16>(s, linear);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    set_vector(s, op->dst, load<Vector>(m));
    DUALVM_NEXT;
}

template <bool kAligned, Form kForm>
void store_whole(DUALVM_ARGUMENTS) {
    const u64 linear = address<kForm>(s, op);
    u8* m = kAligned ? host_to_write_aligned(s, linear) : host_to_write<16>(s, linear);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    store<Vector>(m, get_vector(s, op->src));
    DUALVM_NEXT;
}

template <bool kAligned>
Handler choose_whole(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind == OperandKind::Memory) {
        if (b.kind != OperandKind::Xmm) return nullptr;
        op.src = vector_offset(b.reg);
        return DUALVM_BY_FORM(c.form, store_whole, kAligned);
    }
    if (a.kind != OperandKind::Xmm) return nullptr;
    op.dst = vector_offset(a.reg);
    if (b.kind == OperandKind::Memory) return DUALVM_BY_FORM(c.form, load_whole, kAligned);
    op.src = vector_offset(b.reg);
    return move_register;
}

// --- parts of registers
// -----------------------------------------------------------------------------------------------

// Loads: MOVSS, MOVSD, MOVD and MOVQ clear the rest of the register, MOVLPS .. MOVHPD keep it.
DUALVM_SSE_OPERATION(LoadSingle, "movss", 4)
DUALVM_SSE_OPERATION(LoadDouble, "movsd", 8)
DUALVM_SSE_OPERATION(LoadLow, "movlps", 8)
DUALVM_SSE_OPERATION(LoadHigh, "movhps", 8)

// Between registers.
#define DUALVM_SSE_MOVE(NAME, TEXT)                                                             \
    struct NAME {                                                                               \
        static constexpr unsigned kBytes = 16;                                                  \
        static void run(Vector& d, const Bytes<16>& source) {                                   \
            const Vector from = *reinterpret_cast<const Vector*>(&source);                      \
            asm(TEXT " %1, %0" : "+x"(d) : "x"(from));                                          \
        }                                                                                       \
    };
DUALVM_SSE_MOVE(MoveSingle, "movss")
DUALVM_SSE_MOVE(MoveDouble, "movsd")
DUALVM_SSE_MOVE(MoveHighToLow, "movhlps")
DUALVM_SSE_MOVE(MoveLowToHigh, "movlhps")
#undef DUALVM_SSE_MOVE

#define DUALVM_SSE_STORE(NAME, TEXT, SIZE)                                                           \
    struct NAME {                                                                                    \
        static constexpr unsigned kBytes = SIZE;                                                     \
        static void run(void* to, Vector from) {                                                     \
            asm(TEXT " %1, %0" : "=m"(*static_cast<Bytes<SIZE>*>(to)) : "x"(from));                  \
        }                                                                                            \
    };
DUALVM_SSE_STORE(StoreSingle, "movss", 4)
DUALVM_SSE_STORE(StoreDouble, "movsd", 8)
DUALVM_SSE_STORE(StoreHigh, "movhps", 8)
#undef DUALVM_SSE_STORE

template <class Operation, Form kForm>
void store_part(DUALVM_ARGUMENTS) {
    u8* m = host_to_write<Operation::kBytes>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    Operation::run(m, get_vector(s, op->src));
    DUALVM_NEXT;
}

template <class Load, class Move, class Store>
Handler choose_part(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind == OperandKind::Memory) {
        if (b.kind != OperandKind::Xmm) return nullptr;
        op.src = vector_offset(b.reg);
        return DUALVM_BY_FORM(c.form, store_part, Store);
    }
    if (a.kind != OperandKind::Xmm) return nullptr;  // MOVSD, the string instruction
    op.dst = vector_offset(a.reg);
    if (b.kind == OperandKind::Memory) return DUALVM_BY_FORM(c.form, sse_memory, Load);
    op.src = vector_offset(b.reg);
    return sse_register<Move>;
}

// MOVD and MOVQ to a general register.
template <class T>
void to_gpr(DUALVM_ARGUMENTS) {
    set<T>(s, op->dst, get<T>(s, op->src));
    DUALVM_NEXT;
}

template <class T, class Load, class Store>
Handler choose_integer(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind == OperandKind::Xmm) {
        op.dst = vector_offset(a.reg);
        if (b.kind == OperandKind::Memory) return DUALVM_BY_FORM(c.form, sse_memory, Load);
        op.src = b.kind == OperandKind::Xmm ? vector_offset(b.reg) : register_offset(b);
        return sse_register<Load>;
    }
    if (b.kind != OperandKind::Xmm) return nullptr;  // MMX
    op.src = vector_offset(b.reg);
    if (a.kind == OperandKind::Memory) return DUALVM_BY_FORM(c.form, store_part, Store);
    op.dst = register_offset(a);
    return to_gpr<T>;
}

// --- the signs of a register's elements, to a general register
// --------------------------------------------------------

#define DUALVM_SSE_SIGNS(NAME, TEXT)                                  \
    void NAME(DUALVM_ARGUMENTS) {                                     \
        u32 signs;                                                    \
        asm(TEXT " %1, %0" : "=r"(signs) : "x"(get_vector(s, op->src))); \
        set<u32>(s, op->dst, signs);                                  \
        DUALVM_NEXT;                                                  \
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
        case ZYDIS_MNEMONIC_MOVMSKPS: return choose_signs(c, op, movmskps);
        case ZYDIS_MNEMONIC_MOVMSKPD: return choose_signs(c, op, movmskpd);
        case ZYDIS_MNEMONIC_PMOVMSKB: return choose_signs(c, op, pmovmskb);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
