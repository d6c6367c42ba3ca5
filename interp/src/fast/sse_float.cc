// Fast forms of SSE arithmetic and comparisons on floating-point numbers: one table.
#include <Zydis/Zydis.h>

#include "sse_float.h"

namespace dualvm::interp::fast {

namespace {

// COMISS, UCOMISS, COMISD, UCOMISD: ZF, PF and CF tell the order, OF, SF and AF are cleared (SDM vol. 2A, "COMISD").
#define DUALVM_SSE_ORDER(NAME, TEXT, SIZE)                                                             \
    struct NAME {                                                                                      \
        static constexpr unsigned kBytes = SIZE;                                                       \
        static void run(Vector d, const Bytes<SIZE>& source, u32& flags) {                             \
            asm volatile(TEXT " %2, %1" DUALVM_KEEP_FLAGS : "=a"(flags) : "x"(d), "m"(source) : "cc"); \
        }                                                                                              \
    };
DUALVM_SSE_ORDER(Comiss, "comiss", 4)
DUALVM_SSE_ORDER(Ucomiss, "ucomiss", 4)
DUALVM_SSE_ORDER(Comisd, "comisd", 8)
DUALVM_SSE_ORDER(Ucomisd, "ucomisd", 8)
#undef DUALVM_SSE_ORDER

template <class Operation>
DUALVM_STEP order_register(DUALVM_STEP_ARGUMENTS) {
    Operation::run(get_vector(s, op->dst), bytes<Operation::kBytes>(s, op->src), flags);
    return true;
}

template <class Operation, Form kForm>
DUALVM_STEP order_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<Operation::kBytes>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    Operation::run(get_vector(s, op->dst), bytes<Operation::kBytes>(m), flags);
    return true;
}

template <class Operation>
Handler choose_order(const Choice& c, Op& op) {
    const Operand& b = c.insn->operand[1];
    op.dst = vector_offset(c.insn->operand[0].reg);
    if (b.kind == OperandKind::Memory)
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<order_memory<Operation, kForm>>; });
    op.src = vector_offset(b.reg);
    return single<order_register<Operation>>;
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
