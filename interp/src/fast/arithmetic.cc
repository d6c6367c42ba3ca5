// Fast forms of ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT, IMUL.
#include <Zydis/Zydis.h>

#include "handler.h"

namespace dualvm::interp::fast {

namespace {

template <class Operation, class T, bool kFlags>
inline void apply(T& a, T b, u32& flags) {
    if constexpr (kFlags || Operation::kReadsCarry) {
        Operation::with_flags(a, b, flags);
    } else {
        Operation::without_flags(a, b);
    }
}

template <class Operation, class T, bool kFlags>
void register_register(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    apply<Operation, T, kFlags>(a, get<T>(s, op->src), flags);
    if constexpr (Operation::kWrites) set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class Operation, class T, bool kFlags>
void register_immediate(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    apply<Operation, T, kFlags>(a, static_cast<T>(op->imm), flags);
    if constexpr (Operation::kWrites) set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class Operation, class T, bool kFlags, Form kForm>
void register_memory(DUALVM_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    T a = get<T>(s, op->dst);
    apply<Operation, T, kFlags>(a, load<T>(m), flags);
    if constexpr (Operation::kWrites) set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class Operation, class T, Form kForm, bool kImmediate>
void memory_value(DUALVM_ARGUMENTS) {
    const u64 linear = address<kForm>(s, op);
    u8* m = Operation::kWrites ? host_to_write<sizeof(T)>(s, linear) : host_to_read<sizeof(T)>(s, linear);
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    T a = load<T>(m);
    Operation::with_flags(a, kImmediate ? static_cast<T>(op->imm) : get<T>(s, op->src), flags);
    if constexpr (Operation::kWrites) store<T>(m, a);
    DUALVM_NEXT;
}

template <class Operation, class T, bool kFlags>
void unary_register(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    if constexpr (kFlags) {
        Operation::with_flags(a, flags);
    } else {
        Operation::without_flags(a);
    }
    set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class Operation, class T, Form kForm>
void unary_memory(DUALVM_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    T a = load<T>(m);
    Operation::with_flags(a, flags);
    store<T>(m, a);
    DUALVM_NEXT;
}

template <class T>
void not_register(DUALVM_ARGUMENTS) {
    set<T>(s, op->dst, static_cast<T>(~get<T>(s, op->dst)));
    DUALVM_NEXT;
}

// IMUL with two and three operands: CF = OF = the product does not fit; the others as the host leaves them.
template <class T>
inline void multiply(T& a, T b, u32& flags) {
    asm(DUALVM_RESTORE_FLAGS "imul %2, %0" DUALVM_KEEP_FLAGS : "+r"(a), "+a"(flags) : "r"(b) : "cc");
}

template <class T, bool kFlags>
void imul_register(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    if constexpr (kFlags) {
        multiply<T>(a, get<T>(s, op->src), flags);
    } else {
        a = static_cast<T>(u64{a} * get<T>(s, op->src));
    }
    set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class T, bool kFlags>
void imul_immediate(DUALVM_ARGUMENTS) {
    T a = get<T>(s, op->src);
    if constexpr (kFlags) {
        multiply<T>(a, static_cast<T>(op->imm), flags);
    } else {
        a = static_cast<T>(u64{a} * static_cast<T>(op->imm));
    }
    set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

template <class T, Form kForm>
void imul_memory(DUALVM_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    T a = get<T>(s, op->dst);
    multiply<T>(a, load<T>(m), flags);
    set<T>(s, op->dst, a);
    DUALVM_NEXT;
}

// MUL r: RDX:RAX := RAX * src. CF = OF = the upper half is not zero; the others untouched.
template <class T>
void mul_register(DUALVM_ARGUMENTS) {
    T low = get<T>(s, 8 * RAX), high = 0;
    u8 overflow = 0;
    asm("mul %3\n\tseto %2" : "+a"(low), "=d"(high), "=r"(overflow) : "r"(get<T>(s, op->dst)) : "cc");
    set<T>(s, 8 * RAX, low);
    set<T>(s, 8 * RDX, high);
    flags = (flags & ~u32{0x1ff}) | (overflow ? 0x101u : 0u);
    DUALVM_NEXT;
}

// DIV r of 32 and 64 bits where the quotient fits; #DE is the reference's business. Flags are undefined: left alone.
template <class T>
void div_register(DUALVM_ARGUMENTS) {
    const T divisor = get<T>(s, op->dst), high = get<T>(s, 8 * RDX);
    if (__builtin_expect(high >= divisor, 0)) DUALVM_TAIL reference(DUALVM_PASS);
    T quotient = get<T>(s, 8 * RAX), remainder = high;
    asm("div %2" : "+a"(quotient), "+d"(remainder) : "r"(divisor) : "cc");
    set<T>(s, 8 * RAX, quotient);
    set<T>(s, 8 * RDX, remainder);
    DUALVM_NEXT;
}

// IDIV r where RDX is the sign of RAX, as CDQ and CQO leave it, and the division cannot overflow.
template <class T>
void idiv_register(DUALVM_ARGUMENTS) {
    using Signed = std::make_signed_t<T>;
    const auto dividend = static_cast<Signed>(get<T>(s, 8 * RAX)), divisor = static_cast<Signed>(get<T>(s, op->dst));
    const auto sign = static_cast<T>(dividend >> (8 * sizeof(T) - 1));
    if (__builtin_expect(get<T>(s, 8 * RDX) != sign || divisor == 0 || divisor == -1, 0)) {
        DUALVM_TAIL reference(DUALVM_PASS);
    }
    set<T>(s, 8 * RAX, static_cast<T>(dividend / divisor));
    set<T>(s, 8 * RDX, static_cast<T>(dividend % divisor));
    DUALVM_NEXT;
}

// --- choosing
// ---------------------------------------------------------------------------------------------------------

template <class Operation, class T>
Handler choose_binary_sized(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    const bool dead = c.flags_dead && !Operation::kReadsCarry;
    if (a.kind == OperandKind::Gpr && b.kind == OperandKind::Gpr) {
        op.dst = register_offset(a);
        op.src = register_offset(b);
        return dead ? register_register<Operation, T, false> : register_register<Operation, T, true>;
    }
    if (a.kind == OperandKind::Gpr && b.kind == OperandKind::Immediate) {
        op.dst = register_offset(a);
        op.imm = b.imm;
        return dead ? register_immediate<Operation, T, false> : register_immediate<Operation, T, true>;
    }
    if (a.kind == OperandKind::Gpr && b.kind == OperandKind::Memory) {
        op.dst = register_offset(a);
        switch (c.form) {
            case Form::Base:
                return dead ? register_memory<Operation, T, false, Form::Base>
                            : register_memory<Operation, T, true, Form::Base>;
            case Form::Indexed:
                return dead ? register_memory<Operation, T, false, Form::Indexed>
                            : register_memory<Operation, T, true, Form::Indexed>;
            case Form::Segment: return register_memory<Operation, T, true, Form::Segment>;
            case Form::Address32: return register_memory<Operation, T, true, Form::Address32>;
        }
    }
    if (a.kind != OperandKind::Memory) return nullptr;
    if (b.kind == OperandKind::Gpr) {
        op.src = register_offset(b);
        switch (c.form) {
            case Form::Base: return memory_value<Operation, T, Form::Base, false>;
            case Form::Indexed: return memory_value<Operation, T, Form::Indexed, false>;
            case Form::Segment: return memory_value<Operation, T, Form::Segment, false>;
            case Form::Address32: return memory_value<Operation, T, Form::Address32, false>;
        }
    }
    if (b.kind == OperandKind::Immediate) {
        op.imm = b.imm;
        switch (c.form) {
            case Form::Base: return memory_value<Operation, T, Form::Base, true>;
            case Form::Indexed: return memory_value<Operation, T, Form::Indexed, true>;
            case Form::Segment: return memory_value<Operation, T, Form::Segment, true>;
            case Form::Address32: return memory_value<Operation, T, Form::Address32, true>;
        }
    }
    return nullptr;
}

template <class Operation>
Handler choose_binary(const Choice& c, Op& op) {
    switch (c.insn->operand[0].size) {
        case 1: return choose_binary_sized<Operation, u8>(c, op);
        case 2: return choose_binary_sized<Operation, u16>(c, op);
        case 4: return choose_binary_sized<Operation, u32>(c, op);
        case 8: return choose_binary_sized<Operation, u64>(c, op);
        default: return nullptr;
    }
}

template <class Operation, class T>
Handler choose_unary_sized(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind == OperandKind::Gpr) {
        op.dst = register_offset(a);
        return c.flags_dead ? unary_register<Operation, T, false> : unary_register<Operation, T, true>;
    }
    if (a.kind != OperandKind::Memory) return nullptr;
    switch (c.form) {
        case Form::Base: return unary_memory<Operation, T, Form::Base>;
        case Form::Indexed: return unary_memory<Operation, T, Form::Indexed>;
        case Form::Segment: return unary_memory<Operation, T, Form::Segment>;
        case Form::Address32: return unary_memory<Operation, T, Form::Address32>;
    }
    return nullptr;
}

template <class Operation>
Handler choose_unary(const Choice& c, Op& op) {
    switch (c.insn->operand[0].size) {
        case 1: return choose_unary_sized<Operation, u8>(c, op);
        case 2: return choose_unary_sized<Operation, u16>(c, op);
        case 4: return choose_unary_sized<Operation, u32>(c, op);
        case 8: return choose_unary_sized<Operation, u64>(c, op);
        default: return nullptr;
    }
}

Handler choose_not(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind != OperandKind::Gpr) return nullptr;
    op.dst = register_offset(a);
    switch (a.size) {
        case 1: return not_register<u8>;
        case 2: return not_register<u16>;
        case 4: return not_register<u32>;
        default: return not_register<u64>;
    }
}

template <class T>
Handler choose_imul_sized(const Choice& c, Op& op) {
    const Insn& insn = *c.insn;
    if (insn.operand_count < 2) return nullptr;  // RDX:RAX form: the reference
    op.dst = register_offset(insn.operand[0]);
    const Operand& b = insn.operand[1];
    if (insn.operand_count == 3) {
        if (b.kind != OperandKind::Gpr) return nullptr;
        op.src = register_offset(b);
        op.imm = insn.operand[2].imm;
        return c.flags_dead ? imul_immediate<T, false> : imul_immediate<T, true>;
    }
    if (b.kind == OperandKind::Gpr) {
        op.src = register_offset(b);
        return c.flags_dead ? imul_register<T, false> : imul_register<T, true>;
    }
    switch (c.form) {
        case Form::Base: return imul_memory<T, Form::Base>;
        case Form::Indexed: return imul_memory<T, Form::Indexed>;
        case Form::Segment: return imul_memory<T, Form::Segment>;
        case Form::Address32: return imul_memory<T, Form::Address32>;
    }
    return nullptr;
}

// MUL, DIV and IDIV by a register of 32 or 64 bits.
Handler choose_wide(const Choice& c, Op& op, Handler narrow, Handler wide) {
    const Operand& a = c.insn->operand[0];
    if (a.kind != OperandKind::Gpr || a.size < 4) return nullptr;
    op.dst = register_offset(a);
    return a.size == 4 ? narrow : wide;
}

}  // namespace

Handler choose_arithmetic(const Choice& c, Op& op) {
    switch (c.insn->mnemonic) {
        case ZYDIS_MNEMONIC_ADD: return choose_binary<Add>(c, op);
        case ZYDIS_MNEMONIC_OR: return choose_binary<Or>(c, op);
        case ZYDIS_MNEMONIC_ADC: return choose_binary<Adc>(c, op);
        case ZYDIS_MNEMONIC_SBB: return choose_binary<Sbb>(c, op);
        case ZYDIS_MNEMONIC_AND: return choose_binary<And>(c, op);
        case ZYDIS_MNEMONIC_SUB: return choose_binary<Sub>(c, op);
        case ZYDIS_MNEMONIC_XOR: return choose_binary<Xor>(c, op);
        case ZYDIS_MNEMONIC_CMP: return choose_binary<Cmp>(c, op);
        case ZYDIS_MNEMONIC_TEST: return choose_binary<Test>(c, op);
        case ZYDIS_MNEMONIC_INC: return choose_unary<Inc>(c, op);
        case ZYDIS_MNEMONIC_DEC: return choose_unary<Dec>(c, op);
        case ZYDIS_MNEMONIC_NEG: return choose_unary<Neg>(c, op);
        case ZYDIS_MNEMONIC_NOT: return choose_not(c, op);
        case ZYDIS_MNEMONIC_IMUL:
            switch (c.insn->operand[0].size) {
                case 2: return choose_imul_sized<u16>(c, op);
                case 4: return choose_imul_sized<u32>(c, op);
                case 8: return choose_imul_sized<u64>(c, op);
                default: return nullptr;
            }
        case ZYDIS_MNEMONIC_MUL: return choose_wide(c, op, mul_register<u32>, mul_register<u64>);
        case ZYDIS_MNEMONIC_DIV: return choose_wide(c, op, div_register<u32>, div_register<u64>);
        case ZYDIS_MNEMONIC_IDIV: return choose_wide(c, op, idiv_register<u32>, idiv_register<u64>);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
