// Fast forms of SSE instructions that know no rounding: packed integers, logic, and what only moves elements about.
#include <Zydis/Zydis.h>

#include "sse.h"

namespace dualvm::interp::fast {

namespace {

// Mnemonic, instruction; the memory operand is 16 bytes.
// clang-format off
#define DUALVM_SSE_INTEGER(ROW) \
    /* logic */ \
    ROW(ANDPS, "andps") ROW(ANDPD, "andpd") ROW(ANDNPS, "andnps") ROW(ANDNPD, "andnpd") ROW(ORPS, "orps") \
    ROW(ORPD, "orpd") ROW(XORPS, "xorps") ROW(XORPD, "xorpd") ROW(PAND, "pand") ROW(PANDN, "pandn") \
    ROW(POR, "por") ROW(PXOR, "pxor") \
    /* sums and differences */ \
    ROW(PADDB, "paddb") ROW(PADDW, "paddw") ROW(PADDD, "paddd") ROW(PADDQ, "paddq") ROW(PSUBB, "psubb") \
    ROW(PSUBW, "psubw") ROW(PSUBD, "psubd") ROW(PSUBQ, "psubq") ROW(PADDSB, "paddsb") ROW(PADDSW, "paddsw") \
    ROW(PADDUSB, "paddusb") ROW(PADDUSW, "paddusw") ROW(PSUBSB, "psubsb") ROW(PSUBSW, "psubsw") \
    ROW(PSUBUSB, "psubusb") ROW(PSUBUSW, "psubusw") ROW(PHADDW, "phaddw") ROW(PHADDD, "phaddd") \
    ROW(PHADDSW, "phaddsw") ROW(PHSUBW, "phsubw") ROW(PHSUBD, "phsubd") ROW(PHSUBSW, "phsubsw") \
    ROW(PAVGB, "pavgb") ROW(PAVGW, "pavgw") ROW(PSADBW, "psadbw") ROW(PABSB, "pabsb") ROW(PABSW, "pabsw") \
    ROW(PABSD, "pabsd") ROW(PSIGNB, "psignb") ROW(PSIGNW, "psignw") ROW(PSIGND, "psignd") \
    /* products */ \
    ROW(PMULLW, "pmullw") ROW(PMULHW, "pmulhw") ROW(PMULHUW, "pmulhuw") ROW(PMULUDQ, "pmuludq") \
    ROW(PMADDWD, "pmaddwd") ROW(PMADDUBSW, "pmaddubsw") ROW(PMULHRSW, "pmulhrsw") ROW(PMULLD, "pmulld") \
    ROW(PMULDQ, "pmuldq") ROW(PHMINPOSUW, "phminposuw") \
    /* comparisons */ \
    ROW(PCMPEQB, "pcmpeqb") ROW(PCMPEQW, "pcmpeqw") ROW(PCMPEQD, "pcmpeqd") ROW(PCMPEQQ, "pcmpeqq") \
    ROW(PCMPGTB, "pcmpgtb") ROW(PCMPGTW, "pcmpgtw") ROW(PCMPGTD, "pcmpgtd") ROW(PCMPGTQ, "pcmpgtq") \
    ROW(PMINUB, "pminub") ROW(PMINSW, "pminsw") ROW(PMAXUB, "pmaxub") ROW(PMAXSW, "pmaxsw") ROW(PMINSB, "pminsb") \
    ROW(PMINUW, "pminuw") ROW(PMINSD, "pminsd") ROW(PMINUD, "pminud") ROW(PMAXSB, "pmaxsb") ROW(PMAXUW, "pmaxuw") \
    ROW(PMAXSD, "pmaxsd") ROW(PMAXUD, "pmaxud") \
    /* shifts by the low quadword of the source */ \
    ROW(PSLLW, "psllw") ROW(PSLLD, "pslld") ROW(PSLLQ, "psllq") ROW(PSRLW, "psrlw") ROW(PSRLD, "psrld") \
    ROW(PSRLQ, "psrlq") ROW(PSRAW, "psraw") ROW(PSRAD, "psrad") \
    /* elements moved about */ \
    ROW(PUNPCKLBW, "punpcklbw") ROW(PUNPCKLWD, "punpcklwd") ROW(PUNPCKLDQ, "punpckldq") \
    ROW(PUNPCKLQDQ, "punpcklqdq") ROW(PUNPCKHBW, "punpckhbw") ROW(PUNPCKHWD, "punpckhwd") \
    ROW(PUNPCKHDQ, "punpckhdq") ROW(PUNPCKHQDQ, "punpckhqdq") ROW(PACKSSWB, "packsswb") ROW(PACKSSDW, "packssdw") \
    ROW(PACKUSWB, "packuswb") ROW(PACKUSDW, "packusdw") ROW(UNPCKLPS, "unpcklps") ROW(UNPCKLPD, "unpcklpd") \
    ROW(UNPCKHPS, "unpckhps") ROW(UNPCKHPD, "unpckhpd") ROW(PSHUFB, "pshufb") ROW(MOVSLDUP, "movsldup") \
    ROW(MOVSHDUP, "movshdup")
// clang-format on

// The same with memory operands of 8, 4 and 2 bytes.
// clang-format off
#define DUALVM_SSE_SHORT(ROW) \
    ROW(MOVDDUP, "movddup", 8) ROW(PMOVSXBW, "pmovsxbw", 8) ROW(PMOVSXWD, "pmovsxwd", 8) \
    ROW(PMOVSXDQ, "pmovsxdq", 8) ROW(PMOVSXBD, "pmovsxbd", 4) ROW(PMOVSXWQ, "pmovsxwq", 4) \
    ROW(PMOVSXBQ, "pmovsxbq", 2) ROW(PMOVZXBW, "pmovzxbw", 8) ROW(PMOVZXWD, "pmovzxwd", 8) \
    ROW(PMOVZXDQ, "pmovzxdq", 8) ROW(PMOVZXBD, "pmovzxbd", 4) ROW(PMOVZXWQ, "pmovzxwq", 4) \
    ROW(PMOVZXBQ, "pmovzxbq", 2)
// clang-format on

#define DUALVM_ROW(NAME, TEXT) DUALVM_SSE_OPERATION(NAME, TEXT, 16)
DUALVM_SSE_INTEGER(DUALVM_ROW)
#undef DUALVM_ROW
#define DUALVM_ROW(NAME, TEXT, SIZE) DUALVM_SSE_OPERATION(NAME, TEXT, SIZE)
DUALVM_SSE_SHORT(DUALVM_ROW)
#undef DUALVM_ROW

// PTEST: ZF says that AND is zero, CF that AND NOT is; the others are cleared.
inline void ptest(Vector d, const Bytes<16>& source, u32& flags) {
    asm("ptest %2, %1" DUALVM_KEEP_FLAGS : "=a"(flags) : "x"(d), "m"(source) : "cc");
}

DUALVM_STEP ptest_register(DUALVM_STEP_ARGUMENTS) {
    ptest(get_vector(s, op->dst), bytes<16>(s, op->src), flags);
    return true;
}

template <unsigned kSize, Form kForm>
DUALVM_STEP ptest_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read_sse<kSize>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    ptest(get_vector(s, op->dst), bytes<kSize>(m), flags);
    return true;
}

Handler choose_ptest(const Choice& c, Op& op) {
    const Operand& b = c.insn->operand[1];
    op.dst = vector_offset(c.insn->operand[0].reg);
    if (b.kind == OperandKind::Memory)
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<ptest_memory<16, kForm>>; });
    op.src = vector_offset(b.reg);
    return single<ptest_register>;
}

// BLENDVPS, BLENDVPD, PBLENDVB: the mask is in XMM0.
#define DUALVM_SSE_BLEND(NAME, TEXT)                                        \
    struct NAME {                                                           \
        static void run(Vector& d, const Bytes<16>& source, Vector mask) {  \
            register Vector xmm0 asm("xmm0") = mask;                        \
            asm(TEXT " %%xmm0, %1, %0" : "+x"(d) : "m"(source), "x"(xmm0)); \
        }                                                                   \
    };
DUALVM_SSE_BLEND(BLENDVPS, "blendvps")
DUALVM_SSE_BLEND(BLENDVPD, "blendvpd")
DUALVM_SSE_BLEND(PBLENDVB, "pblendvb")
#undef DUALVM_SSE_BLEND

template <class Operation>
DUALVM_STEP blend_register(DUALVM_STEP_ARGUMENTS) {
    Vector d = get_vector(s, op->dst);
    Operation::run(d, bytes<16>(s, op->src), get_vector(s, vector_offset(0)));
    set_vector(s, op->dst, d);
    return true;
}

template <class Operation, Form kForm>
DUALVM_STEP blend_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read_aligned(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    Vector d = get_vector(s, op->dst);
    Operation::run(d, bytes<16>(m), get_vector(s, vector_offset(0)));
    set_vector(s, op->dst, d);
    return true;
}

template <class Operation>
Handler choose_blend(const Choice& c, Op& op) {
    const Operand& b = c.insn->operand[1];
    op.dst = vector_offset(c.insn->operand[0].reg);
    if (b.kind == OperandKind::Memory)
        return by_form(c.form, [&]<Form kForm>() -> Handler { return single<blend_memory<Operation, kForm>>; });
    op.src = vector_offset(b.reg);
    return single<blend_register<Operation>>;
}

}  // namespace

Handler choose_sse_integer(const Choice& c, Op& op) {
    switch (c.insn->mnemonic) {
#define DUALVM_ROW(NAME, ...) \
    case ZYDIS_MNEMONIC_##NAME: return choose_sse<NAME>(c, op);
        DUALVM_SSE_INTEGER(DUALVM_ROW)
        DUALVM_SSE_SHORT(DUALVM_ROW)
#undef DUALVM_ROW
        case ZYDIS_MNEMONIC_PTEST: return choose_ptest(c, op);
        case ZYDIS_MNEMONIC_BLENDVPS: return choose_blend<BLENDVPS>(c, op);
        case ZYDIS_MNEMONIC_BLENDVPD: return choose_blend<BLENDVPD>(c, op);
        case ZYDIS_MNEMONIC_PBLENDVB: return choose_blend<PBLENDVB>(c, op);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
