// Fast forms of x87 and MMX instructions. While a chain of handlers runs, the guest's x87 state stays in the host's
// unit (mxcsr.h), and a handler calls the routine that the decoder has made of the very instruction (UnitInsn::bare),
// its memory operand at [RDI]. Only where all exceptions are masked (ModeKey::kX87): then none can wait, and of the
// pointers only FIP is kept (SDM vol. 1, 8.1.8: with CPUID.7.EBX[6] the opcode and the data pointer are those of
// unmasked exceptions).
#include <Zydis/Zydis.h>

#include <bit>

#include "../host_unit.h"
#include "handler.h"
#include "mxcsr.h"
#include "routine.h"

namespace dualvm::interp::fast {

namespace {

// MMX registers are the x87 unit's, and what MMX instructions do to its tags and its top the host's do (SDM vol. 1,
// 9.5.1). The pointers they leave alone.
enum class Pointer : u8 { Kept, Set };
template <Pointer kPointer>
inline void note_pointer(State* s, const Op* op) {
    if constexpr (kPointer == Pointer::Set) s->fx.fip = rip_of(op);
}

inline void prepare(State* s) {
    if (__builtin_expect(!s->x87_in_host, 0)) take_x87(*s);
}

template <Pointer kPointer>
DUALVM_STEP x87_register(DUALVM_STEP_ARGUMENTS) {
    prepare(s);
    asm volatile(DUALVM_CALL_ROUTINE : : [routine] "r"(op->imm));
    note_pointer<kPointer>(s, op);
    return true;
}

// MOVD, PINSRW and the like, with a general register at op->src that is read, and written if it is the destination.
template <bool kWrites>
DUALVM_STEP mmx_general(DUALVM_STEP_ARGUMENTS) {
    prepare(s);
    u64 rax = get<u64>(s, op->src);
    asm volatile(DUALVM_CALL_ROUTINE : "+a"(rax) : [routine] "r"(op->imm));
    if constexpr (kWrites) set<u64>(s, op->src, rax);
    return true;
}

// FCOMI and its like: the flags tell the order.
DUALVM_STEP x87_order(DUALVM_STEP_ARGUMENTS) {
    prepare(s);
    asm volatile(DUALVM_RESTORE_FLAGS DUALVM_CALL_ROUTINE DUALVM_KEEP_FLAGS
                 : "+a"(flags)
                 : [routine] "r"(op->imm)
                 : "cc");
    s->fx.fip = rip_of(op);
    return true;
}

template <Pointer kPointer, unsigned kSize, Form kForm>
DUALVM_STEP x87_load(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<kSize>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    prepare(s);
    asm volatile(DUALVM_CALL_ROUTINE : : "D"(m), [routine] "r"(op->imm) : "memory");
    note_pointer<kPointer>(s, op);
    return true;
}

template <Pointer kPointer, unsigned kSize, Form kForm>
DUALVM_STEP x87_store(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<kSize>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    prepare(s);
    asm volatile(DUALVM_CALL_ROUTINE : : "D"(m), [routine] "r"(op->imm) : "memory");
    note_pointer<kPointer>(s, op);
    return true;
}

// No exception can wait.
DUALVM_STEP fwait(DUALVM_STEP_ARGUMENTS) { return true; }

// FLDCW, FNSTCW and FNSTSW leave FIP alone.
template <Form kForm>
DUALVM_STEP fldcw(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<2>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    const u16 control = load<u16>(m);
    if ((control & FxImage::kX87Masks) != FxImage::kX87Masks) return false;
    prepare(s);
    asm volatile("fldcw %0" : : "m"(control));
    return true;
}

template <bool kControl, Form kForm>
DUALVM_STEP store_word(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<2>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    prepare(s);
    u16 word;
    if constexpr (kControl) {
        asm volatile("fnstcw %0" : "=m"(word));
    } else {
        asm volatile("fnstsw %0" : "=m"(word));
    }
    store<u16>(m, word);
    return true;
}

DUALVM_STEP fnstsw_ax(DUALVM_STEP_ARGUMENTS) {
    prepare(s);
    u16 word;
    asm volatile("fnstsw %0" : "=m"(word));
    set<u16>(s, 8 * RAX, word);
    return true;
}

template <Pointer kPointer>
Handler choose_load(const Choice& c, unsigned size) {
    return by_form(c.form, [&]<Form kForm>() -> Handler {
        switch (size) {
            case 2: return single<x87_load<kPointer, 2, kForm>>;
            case 4: return single<x87_load<kPointer, 4, kForm>>;
            case 8: return single<x87_load<kPointer, 8, kForm>>;
            case 10: return single<x87_load<kPointer, 10, kForm>>;
            default: return nullptr;
        }
    });
}

template <Pointer kPointer>
Handler choose_store(const Choice& c, unsigned size) {
    return by_form(c.form, [&]<Form kForm>() -> Handler {
        switch (size) {
            case 2: return single<x87_store<kPointer, 2, kForm>>;
            case 4: return single<x87_store<kPointer, 4, kForm>>;
            case 8: return single<x87_store<kPointer, 8, kForm>>;
            case 10: return single<x87_store<kPointer, 10, kForm>>;
            default: return nullptr;
        }
    });
}

template <Pointer kPointer>
Handler choose_by_operand(const Choice& c) {
    const UnitInsn& unit = *c.insn->unit;
    if (unit.memory_operand == 0xff) return single<x87_register<kPointer>>;
    const unsigned size = c.insn->operand[unit.memory_operand].size;
    return unit.writes_memory ? choose_store<kPointer>(c, size) : choose_load<kPointer>(c, size);
}

Handler choose_mmx(const Choice& c, Op& op) {
    const UnitInsn& unit = *c.insn->unit;
    if (unit.gpr_operand == 0xff) return choose_by_operand<Pointer::Kept>(c);
    op.src = register_offset(c.insn->operand[unit.gpr_operand]);
    return unit.gpr_operand == 0 ? single<mmx_general<true>> : single<mmx_general<false>>;
}

}  // namespace

Handler choose_x87(const Choice& c, Op& op) {
    const Insn& insn = *c.insn;
    if (insn.mnemonic == ZYDIS_MNEMONIC_FWAIT) return single<fwait>;
    if (insn.unit == nullptr || insn.unit->unit == UnitInsn::Unit::Sse || insn.unit->bare == nullptr) return nullptr;
    const UnitInsn& unit = *insn.unit;
    op.imm = std::bit_cast<u64>(unit.bare);
    if (unit.unit == UnitInsn::Unit::Mmx) return choose_mmx(c, op);
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_FLDCW: return by_form(c.form, []<Form kForm>() -> Handler { return single<fldcw<kForm>>; });
        case ZYDIS_MNEMONIC_FNSTCW:
            return by_form(c.form, []<Form kForm>() -> Handler { return single<store_word<true, kForm>>; });
        case ZYDIS_MNEMONIC_FNSTSW:
            if (unit.memory_operand == 0xff) return single<fnstsw_ax>;
            return by_form(c.form, []<Form kForm>() -> Handler { return single<store_word<false, kForm>>; });
        case ZYDIS_MNEMONIC_FCOMI:
        case ZYDIS_MNEMONIC_FCOMIP:
        case ZYDIS_MNEMONIC_FUCOMI:
        case ZYDIS_MNEMONIC_FUCOMIP: return single<x87_order>;
        case ZYDIS_MNEMONIC_FCMOVB:  // these read the flags
        case ZYDIS_MNEMONIC_FCMOVBE:
        case ZYDIS_MNEMONIC_FCMOVE:
        case ZYDIS_MNEMONIC_FCMOVNB:
        case ZYDIS_MNEMONIC_FCMOVNBE:
        case ZYDIS_MNEMONIC_FCMOVNE:
        case ZYDIS_MNEMONIC_FCMOVNU:
        case ZYDIS_MNEMONIC_FCMOVU: return nullptr;
        default: break;
    }
    if (unit.control) return nullptr;  // FNINIT, FNSAVE, FRSTOR ...
    return choose_by_operand<Pointer::Set>(c);
}

}  // namespace dualvm::interp::fast
