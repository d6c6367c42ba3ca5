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

// PCMPESTRI PCMPESTRM PCMPISTRI PCMPISTRM: lengths in RAX and RDX or none, an index in RCX or a mask in XMM0, and
// flags.
template <bool kMask>
inline void compare_strings(State* s, const Op* op, u32& flags, Vector source, const u8* m) {
    register Vector xmm0 asm("xmm0") = get_vector(s, op->dst);
    register Vector xmm1 asm("xmm1") = source;
    u64 rax = get<u64>(s, 8 * RAX), rcx;
    asm volatile(DUALVM_CALL_ROUTINE DUALVM_KEEP_FLAGS
                 : "+a"(rax), "=&c"(rcx), "+x"(xmm0)
                 : "d"(get<u64>(s, 8 * RDX)), "x"(xmm1), "D"(m), [routine] "r"(op->imm)
                 : "cc", "memory");
    flags = static_cast<u32>(rax);
    if constexpr (kMask) {
        set_vector(s, vector_offset(0), xmm0);
    } else {
        set<u64>(s, 8 * RCX, rcx);
    }
}
template <bool kMask>
DUALVM_STEP compare_strings_register(DUALVM_STEP_ARGUMENTS) {
    compare_strings<kMask>(s, op, flags, get_vector(s, op->src), nullptr);
    return true;
}
template <bool kMask, Form kForm>
DUALVM_STEP compare_strings_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<16>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    compare_strings<kMask>(s, op, flags, Vector{}, m);
    return true;
}
template <bool kMask>
Handler choose_compare_strings(const Choice& c, Op& op) {
    op.dst = vector_offset(c.insn->operand[0].reg);
    const Operand& b = c.insn->operand[1];
    if (b.kind == OperandKind::Memory) {
        return by_form(c.form, []<Form kForm>() -> Handler { return single<compare_strings_memory<kMask, kForm>>; });
    }
    op.src = vector_offset(b.reg);
    return single<compare_strings_register<kMask>>;
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
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_PCMPESTRI:
        case ZYDIS_MNEMONIC_PCMPISTRI: return choose_compare_strings<false>(c, op);
        case ZYDIS_MNEMONIC_PCMPESTRM:
        case ZYDIS_MNEMONIC_PCMPISTRM: return choose_compare_strings<true>(c, op);
        default: break;
    }
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
