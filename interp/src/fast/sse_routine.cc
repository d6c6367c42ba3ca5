// Fast forms of SSE instructions with an immediate byte: PSHUFD, CMPPD, ROUNDSD, PEXTRB, PSLLQ by a constant ... A
// handler cannot hold every value of the byte; it calls the routine that the decoder has made of the very instruction
// (UnitInsn::bare): destination in XMM0, source in XMM1, RAX or at [RDI].
#include <Zydis/Zydis.h>

#include <bit>

#include "../host_unit.h"
#include "mxcsr.h"
#include "routine.h"
#include "sse.h"

namespace dualvm::interp::fast {

namespace {

// What CMPxx, ROUNDxx and DPxx need first.
template <bool kRounds>
inline void prepare_mxcsr(State* s) {
    if (kRounds && !s->mxcsr_in_host) take_mxcsr(*s);
}

template <bool kRounds>
DUALVM_STEP routine_register(DUALVM_STEP_ARGUMENTS) {
    prepare_mxcsr<kRounds>(s);
    const Vector d = get_vector(s, op->dst), source = get_vector(s, op->src);
    register Vector xmm0 asm("xmm0") = d;
    register Vector xmm1 asm("xmm1") = source;
    asm volatile(DUALVM_CALL_ROUTINE : "+x"(xmm0) : "x"(xmm1), [routine] "r"(op->imm));
    set_vector(s, op->dst, xmm0);
    return true;
}

template <bool kRounds, unsigned kSize, Form kForm>
DUALVM_STEP routine_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read_sse<kSize>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    prepare_mxcsr<kRounds>(s);
    const Vector d = get_vector(s, op->dst);
    const Bytes<kSize>& source = bytes<kSize>(m);
    register Vector xmm0 asm("xmm0") = d;
    asm volatile(DUALVM_CALL_ROUTINE : "+x"(xmm0) : "D"(m), "m"(source), [routine] "r"(op->imm));
    set_vector(s, op->dst, xmm0);
    return true;
}

// PINSRx from a general register.
DUALVM_STEP routine_from_gpr(DUALVM_STEP_ARGUMENTS) {
    const Vector d = get_vector(s, op->dst);
    const u64 source = get<u64>(s, op->src);
    register Vector xmm0 asm("xmm0") = d;
    asm volatile(DUALVM_CALL_ROUTINE : "+x"(xmm0) : "a"(source), [routine] "r"(op->imm));
    set_vector(s, op->dst, xmm0);
    return true;
}

// PEXTRx and EXTRACTPS: one form of PEXTRW has its source in XMM1. The upper part of RAX is cleared.
DUALVM_STEP routine_to_gpr(DUALVM_STEP_ARGUMENTS) {
    const Vector source = get_vector(s, op->src);
    register Vector xmm0 asm("xmm0") = source;
    register Vector xmm1 asm("xmm1") = source;
    u64 rax;
    asm volatile(DUALVM_CALL_ROUTINE : "=a"(rax) : "x"(xmm0), "x"(xmm1), [routine] "r"(op->imm));
    set<u64>(s, op->dst, rax);
    return true;
}

template <unsigned kSize, Form kForm>
DUALVM_STEP routine_to_memory(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<kSize>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    const Vector source = get_vector(s, op->src);
    register Vector xmm0 asm("xmm0") = source;
    asm volatile(DUALVM_CALL_ROUTINE : : "x"(xmm0), "D"(m), [routine] "r"(op->imm) : "memory");
    return true;
}

bool rounds(u16 mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_CMPPS:
        case ZYDIS_MNEMONIC_CMPPD:
        case ZYDIS_MNEMONIC_CMPSS:
        case ZYDIS_MNEMONIC_CMPSD:
        case ZYDIS_MNEMONIC_ROUNDPS:
        case ZYDIS_MNEMONIC_ROUNDPD:
        case ZYDIS_MNEMONIC_ROUNDSS:
        case ZYDIS_MNEMONIC_ROUNDSD:
        case ZYDIS_MNEMONIC_DPPS:
        case ZYDIS_MNEMONIC_DPPD: return true;
        default: return false;
    }
}

template <bool kRounds>
Handler choose_routine_memory(const Choice& c, unsigned size) {
    return by_form(c.form, [&]<Form kForm>() -> Handler {
        switch (size) {
            case 1: return single<routine_memory<kRounds, 1, kForm>>;
            case 2: return single<routine_memory<kRounds, 2, kForm>>;
            case 4: return single<routine_memory<kRounds, 4, kForm>>;
            case 8: return single<routine_memory<kRounds, 8, kForm>>;
            default: return single<routine_memory<kRounds, 16, kForm>>;
        }
    });
}

Handler choose_routine_to_memory(const Choice& c, unsigned size) {
    return by_form(c.form, [&]<Form kForm>() -> Handler {
        switch (size) {
            case 1: return single<routine_to_memory<1, kForm>>;
            case 2: return single<routine_to_memory<2, kForm>>;
            case 4: return single<routine_to_memory<4, kForm>>;
            default: return single<routine_to_memory<8, kForm>>;
        }
    });
}

}  // namespace

Handler choose_sse_routine(const Choice& c, Op& op) {
    const Insn& insn = *c.insn;
    if (insn.unit == nullptr || insn.unit->bare == nullptr) return nullptr;
    const bool by_mxcsr = rounds(insn.mnemonic);
    if (by_mxcsr && (c.mode & ModeKey::kSseMasked) == 0) return nullptr;
    const Operand &a = insn.operand[0], &b = insn.operand[1];
    op.imm = std::bit_cast<u64>(insn.unit->bare);
    if (a.kind == OperandKind::Xmm) {
        op.dst = vector_offset(a.reg);
        switch (b.kind) {
            case OperandKind::Memory:
                return by_mxcsr ? choose_routine_memory<true>(c, b.size) : choose_routine_memory<false>(c, b.size);
            case OperandKind::Gpr: op.src = register_offset(b); return single<routine_from_gpr>;
            case OperandKind::Xmm: op.src = vector_offset(b.reg); break;
            default: op.src = op.dst; break;  // a shift
        }
        return by_mxcsr ? single<routine_register<true>> : single<routine_register<false>>;
    }
    if (b.kind != OperandKind::Xmm) return nullptr;
    op.src = vector_offset(b.reg);
    if (a.kind == OperandKind::Memory) return choose_routine_to_memory(c, a.size);
    op.dst = register_offset(a);
    return single<routine_to_gpr>;
}

}  // namespace dualvm::interp::fast
