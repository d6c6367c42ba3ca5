// Fast forms of the SSE conversions between integers and floating-point numbers, and between their sizes.
#include <Zydis/Zydis.h>

#include "sse.h"

namespace dualvm::interp::fast {

namespace {

// xmm := converted xmm/memory.
// clang-format off
#define DUALVM_SSE_CONVERT(ROW) \
    ROW(CVTSS2SD, "cvtss2sd", 4) ROW(CVTSD2SS, "cvtsd2ss", 8) ROW(CVTPS2PD, "cvtps2pd", 8) \
    ROW(CVTPD2PS, "cvtpd2ps", 16) ROW(CVTDQ2PS, "cvtdq2ps", 16) ROW(CVTDQ2PD, "cvtdq2pd", 8) \
    ROW(CVTPS2DQ, "cvtps2dq", 16) ROW(CVTTPS2DQ, "cvttps2dq", 16) ROW(CVTPD2DQ, "cvtpd2dq", 16) \
    ROW(CVTTPD2DQ, "cvttpd2dq", 16)
// clang-format on

#define DUALVM_ROW(NAME, TEXT, SIZE) DUALVM_SSE_OPERATION(NAME, TEXT, SIZE)
DUALVM_SSE_CONVERT(DUALVM_ROW)
// From a general register (which is memory in State, too) or memory.
DUALVM_SSE_OPERATION(Cvtsi2ss32, "cvtsi2ssl", 4)
DUALVM_SSE_OPERATION(Cvtsi2ss64, "cvtsi2ssq", 8)
DUALVM_SSE_OPERATION(Cvtsi2sd32, "cvtsi2sdl", 4)
DUALVM_SSE_OPERATION(Cvtsi2sd64, "cvtsi2sdq", 8)
#undef DUALVM_ROW

template <class Narrow, class Wide>
Handler choose_from_integer(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    op.dst = vector_offset(a.reg);
    if (b.kind == OperandKind::Memory) {
        return b.size == 8
                   ? by_form(c.form, [&]<Form kForm>() -> Handler { return single<sse_memory<Wide, kForm>>; })
                   : by_form(c.form, [&]<Form kForm>() -> Handler { return single<sse_memory<Narrow, kForm>>; });
    }
    op.src = register_offset(b);
    return b.size == 8 ? single<sse_register<Wide>> : single<sse_register<Narrow>>;
}

// To a general register.
#define DUALVM_SSE_TO_INTEGER(NAME, TEXT, SIZE)                        \
    struct NAME {                                                      \
        static constexpr unsigned kBytes = SIZE;                       \
        template <class T>                                             \
        static T run(const Bytes<SIZE>& source) {                      \
            T result;                                                  \
            asm volatile(TEXT " %1, %0" : "=r"(result) : "m"(source)); \
            return result;                                             \
        }                                                              \
    };
DUALVM_SSE_TO_INTEGER(Cvtss2si, "cvtss2si", 4)
DUALVM_SSE_TO_INTEGER(Cvttss2si, "cvttss2si", 4)
DUALVM_SSE_TO_INTEGER(Cvtsd2si, "cvtsd2si", 8)
DUALVM_SSE_TO_INTEGER(Cvttsd2si, "cvttsd2si", 8)
#undef DUALVM_SSE_TO_INTEGER

template <class Operation, class T>
DUALVM_STEP to_integer_register(DUALVM_STEP_ARGUMENTS) {
    set<T>(s, op->dst, Operation::template run<T>(bytes<Operation::kBytes>(s, op->src)));
    return true;
}

template <class Operation, class T, Form kForm>
DUALVM_STEP to_integer_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<Operation::kBytes>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    set<T>(s, op->dst, Operation::template run<T>(bytes<Operation::kBytes>(m)));
    return true;
}

template <class Operation, class T>
Handler choose_to_integer_sized(const Choice& c, Op& op) {
    const Operand& b = c.insn->operand[1];
    op.dst = register_offset(c.insn->operand[0]);
    if (b.kind == OperandKind::Memory)
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<to_integer_memory<Operation, T, kForm>>; });
    op.src = vector_offset(b.reg);
    return single<to_integer_register<Operation, T>>;
}

template <class Operation>
Handler choose_to_integer(const Choice& c, Op& op) {
    return c.insn->operand[0].size == 8 ? choose_to_integer_sized<Operation, u64>(c, op)
                                        : choose_to_integer_sized<Operation, u32>(c, op);
}

}  // namespace

Handler choose_sse_convert(const Choice& c, Op& op) {
    switch (c.insn->mnemonic) {
#define DUALVM_ROW(NAME, TEXT, SIZE) \
    case ZYDIS_MNEMONIC_##NAME: return choose_sse<NAME>(c, op);
        DUALVM_SSE_CONVERT(DUALVM_ROW)
#undef DUALVM_ROW
        case ZYDIS_MNEMONIC_CVTSI2SS: return choose_from_integer<Cvtsi2ss32, Cvtsi2ss64>(c, op);
        case ZYDIS_MNEMONIC_CVTSI2SD: return choose_from_integer<Cvtsi2sd32, Cvtsi2sd64>(c, op);
        case ZYDIS_MNEMONIC_CVTSS2SI: return choose_to_integer<Cvtss2si>(c, op);
        case ZYDIS_MNEMONIC_CVTTSS2SI: return choose_to_integer<Cvttss2si>(c, op);
        case ZYDIS_MNEMONIC_CVTSD2SI: return choose_to_integer<Cvtsd2si>(c, op);
        case ZYDIS_MNEMONIC_CVTTSD2SI: return choose_to_integer<Cvttsd2si>(c, op);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
