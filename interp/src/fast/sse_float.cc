// Fast forms of SSE arithmetic and comparisons on floating-point numbers: one table.
#include <Zydis/Zydis.h>

#include "sse.h"

namespace dualvm::interp::fast {

namespace {

// Mnemonic, instruction, bytes of a memory operand.
#define DUALVM_SSE_FLOAT(ROW)                                                                              \
    ROW(ADDPS, "addps", 16) ROW(ADDPD, "addpd", 16) ROW(ADDSS, "addss", 4) ROW(ADDSD, "addsd", 8)          \
    ROW(SUBPS, "subps", 16) ROW(SUBPD, "subpd", 16) ROW(SUBSS, "subss", 4) ROW(SUBSD, "subsd", 8)          \
    ROW(MULPS, "mulps", 16) ROW(MULPD, "mulpd", 16) ROW(MULSS, "mulss", 4) ROW(MULSD, "mulsd", 8)          \
    ROW(DIVPS, "divps", 16) ROW(DIVPD, "divpd", 16) ROW(DIVSS, "divss", 4) ROW(DIVSD, "divsd", 8)          \
    ROW(MINPS, "minps", 16) ROW(MINPD, "minpd", 16) ROW(MINSS, "minss", 4) ROW(MINSD, "minsd", 8)          \
    ROW(MAXPS, "maxps", 16) ROW(MAXPD, "maxpd", 16) ROW(MAXSS, "maxss", 4) ROW(MAXSD, "maxsd", 8)          \
    ROW(SQRTPS, "sqrtps", 16) ROW(SQRTPD, "sqrtpd", 16) ROW(SQRTSS, "sqrtss", 4) ROW(SQRTSD, "sqrtsd", 8)  \
    ROW(RCPPS, "rcpps", 16) ROW(RCPSS, "rcpss", 4) ROW(RSQRTPS, "rsqrtps", 16) ROW(RSQRTSS, "rsqrtss", 4)  \
    ROW(ADDSUBPS, "addsubps", 16) ROW(ADDSUBPD, "addsubpd", 16)                                            \
    ROW(HADDPS, "haddps", 16) ROW(HADDPD, "haddpd", 16) ROW(HSUBPS, "hsubps", 16) ROW(HSUBPD, "hsubpd", 16)

#define DUALVM_ROW(NAME, TEXT, SIZE) DUALVM_SSE_OPERATION(NAME, TEXT, SIZE)
DUALVM_SSE_FLOAT(DUALVM_ROW)
#undef DUALVM_ROW

// COMISS, UCOMISS, COMISD, UCOMISD: ZF, PF and CF tell the order, OF, SF and AF are cleared (SDM vol. 2A, "COMISD").
#define DUALVM_SSE_ORDER(NAME, TEXT, SIZE)                                                                       \
    struct NAME {                                                                                                \
        static constexpr unsigned kBytes = SIZE;                                                                 \
        static void run(Vector d, const Bytes<SIZE>& source, u32& flags) {                                       \
            asm volatile(TEXT " %2, %1" DUALVM_KEEP_FLAGS : "=a"(flags) : "x"(d), "m"(source) : "cc");           \
        }                                                                                                        \
    };
DUALVM_SSE_ORDER(Comiss, "comiss", 4)
DUALVM_SSE_ORDER(Ucomiss, "ucomiss", 4)
DUALVM_SSE_ORDER(Comisd, "comisd", 8)
DUALVM_SSE_ORDER(Ucomisd, "ucomisd", 8)
#undef DUALVM_SSE_ORDER

template <class Operation>
void order_register(DUALVM_ARGUMENTS) {
    Operation::run(get_vector(s, op->dst), bytes<Operation::kBytes>(s, op->src), flags);
    DUALVM_NEXT;
}

template <class Operation, Form kForm>
void order_memory(DUALVM_ARGUMENTS) {
    const u8* m = host_to_read<Operation::kBytes>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    Operation::run(get_vector(s, op->dst), bytes<Operation::kBytes>(m), flags);
    DUALVM_NEXT;
}

template <class Operation>
Handler choose_order(const Choice& c, Op& op) {
    const Operand& b = c.insn->operand[1];
    op.dst = vector_offset(c.insn->operand[0].reg);
    if (b.kind == OperandKind::Memory) return DUALVM_BY_FORM(c.form, order_memory, Operation);
    op.src = vector_offset(b.reg);
    return order_register<Operation>;
}

}  // namespace

Handler choose_sse_float(const Choice& c, Op& op) {
    switch (c.insn->mnemonic) {
#define DUALVM_ROW(NAME, TEXT, SIZE) \
    case ZYDIS_MNEMONIC_##NAME: return choose_sse<NAME>(c, op);
        DUALVM_SSE_FLOAT(DUALVM_ROW)
#undef DUALVM_ROW
        case ZYDIS_MNEMONIC_COMISS: return choose_order<Comiss>(c, op);
        case ZYDIS_MNEMONIC_UCOMISS: return choose_order<Ucomiss>(c, op);
        case ZYDIS_MNEMONIC_COMISD: return choose_order<Comisd>(c, op);
        case ZYDIS_MNEMONIC_UCOMISD: return choose_order<Ucomisd>(c, op);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
