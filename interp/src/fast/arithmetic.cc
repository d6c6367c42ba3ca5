// Fast forms of ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT, IMUL MUL DIV IDIV: choosing them.
#include "arithmetic.h"

#include <Zydis/Zydis.h>

namespace dualvm::interp::fast {

namespace {

template <class Operation, class T, bool kFlags>
Handler choose_binary_as(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (b.kind == OperandKind::Gpr) op.src = register_offset(b);
    if (b.kind == OperandKind::Immediate) op.imm = b.imm;
    if (a.kind == OperandKind::Gpr) {
        op.dst = register_offset(a);
        if (b.kind == OperandKind::Gpr) return single<register_register<Operation, T, kFlags>>;
        if (b.kind == OperandKind::Immediate) return single<register_immediate<Operation, T, kFlags>>;
        if (b.kind != OperandKind::Memory) return nullptr;
        return by_form(c.form,
                       []<Form kForm>() -> Handler { return single<register_memory<Operation, T, kFlags, kForm>>; });
    }
    if (a.kind != OperandKind::Memory) return nullptr;
    if (b.kind == OperandKind::Gpr) {
        return by_form(c.form,
                       []<Form kForm>() -> Handler { return single<memory_value<Operation, T, kForm, false>>; });
    }
    if (b.kind != OperandKind::Immediate) return nullptr;
    return by_form(c.form, []<Form kForm>() -> Handler { return single<memory_value<Operation, T, kForm, true>>; });
}

template <class Operation>
Handler choose_binary(const Choice& c, Op& op) {
    return by_size(c.insn->operand[0].size, [&]<class T>() {
        if constexpr (!Operation::kReadsCarry) {
            if (c.flags_dead) return choose_binary_as<Operation, T, false>(c, op);
        }
        return choose_binary_as<Operation, T, true>(c, op);
    });
}

template <class Operation>
Handler choose_unary(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind == OperandKind::Gpr) op.dst = register_offset(a);
    return by_size(a.size, [&]<class T>() -> Handler {
        if (a.kind == OperandKind::Memory) {
            return by_form(c.form, []<Form kForm>() -> Handler { return single<unary_memory<Operation, T, kForm>>; });
        }
        return c.flags_dead ? single<unary_register<Operation, T, false>> : single<unary_register<Operation, T, true>>;
    });
}

Handler choose_not(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.kind == OperandKind::Memory) {
        return by_size(a.size, [&]<class T>() {
            return by_form(c.form, []<Form kForm>() -> Handler { return single<not_memory<T, kForm>>; });
        });
    }
    op.dst = register_offset(a);
    return by_size(a.size, []<class T>() -> Handler { return single<not_register<T>>; });
}

template <class T>
Handler choose_imul_sized(const Choice& c, Op& op) {
    const Insn& insn = *c.insn;
    op.dst = register_offset(insn.operand[0]);
    const Operand& b = insn.operand[1];
    if (insn.operand_count == 3) {
        op.imm = insn.operand[2].imm;
        if (b.kind == OperandKind::Memory) {
            return by_form(c.form, []<Form kForm>() -> Handler { return single<imul_memory_immediate<T, kForm>>; });
        }
        op.src = register_offset(b);
        return c.flags_dead ? single<imul_immediate<T, false>> : single<imul_immediate<T, true>>;
    }
    if (b.kind == OperandKind::Gpr) {
        op.src = register_offset(b);
        return c.flags_dead ? single<imul_register<T, false>> : single<imul_register<T, true>>;
    }
    return by_form(c.form, [&]<Form kForm>() -> Handler {
        return c.flags_dead ? single<imul_memory<T, kForm, false>> : single<imul_memory<T, kForm, true>>;
    });
}

// Those with RDX:RAX, of 32 and 64 bits.
template <class Operation>
Handler choose_wide(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    if (a.size < 4) return nullptr;
    if (a.kind == OperandKind::Memory) {
        return by_form(c.form, [&]<Form kForm>() -> Handler {
            return a.size == 4 ? single<wide_memory<Operation, u32, kForm>>
                               : single<wide_memory<Operation, u64, kForm>>;
        });
    }
    op.dst = register_offset(a);
    return a.size == 4 ? single<wide_register<Operation, u32>> : single<wide_register<Operation, u64>>;
}

Handler choose_imul(const Choice& c, Op& op) {
    if (c.insn->operand_count == 1) return choose_wide<Multiply<ImulWide>>(c, op);
    switch (c.insn->operand[0].size) {
        case 2: return choose_imul_sized<u16>(c, op);
        case 4: return choose_imul_sized<u32>(c, op);
        case 8: return choose_imul_sized<u64>(c, op);
        default: return nullptr;
    }
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
        case ZYDIS_MNEMONIC_IMUL: return choose_imul(c, op);
        case ZYDIS_MNEMONIC_MUL: return choose_wide<Multiply<MulWide>>(c, op);
        case ZYDIS_MNEMONIC_DIV: return choose_wide<Divide>(c, op);
        case ZYDIS_MNEMONIC_IDIV: return choose_wide<DivideSigned>(c, op);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
