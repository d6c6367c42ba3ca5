// Fast forms of BT BTS BTR BTC, BSF BSR, POPCNT, CRC32: choosing them.
#include "bits.h"

#include <Zydis/Zydis.h>

namespace dualvm::interp::fast {

namespace {

// Of 32 and 64 bits.
template <class Make>
Handler by_wide_size(unsigned size, Make make) {
    if (size == 8) return make.template operator()<u64>();
    return size == 4 ? make.template operator()<u32>() : nullptr;
}

template <class Change>
Handler choose_bit_operation(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    const bool immediate = b.kind == OperandKind::Immediate;
    if (immediate) {
        op.imm = b.imm;
    } else {
        op.src = register_offset(b);
    }
    if (a.kind == OperandKind::Gpr) op.dst = register_offset(a);
    return by_wide_size(a.size, [&]<class T>() -> Handler {
        if (a.kind == OperandKind::Memory) {
            if (!immediate) return nullptr;
            return by_form(c.form, []<Form kForm>() -> Handler { return single<bit_of_memory<Change, T, kForm>>; });
        }
        return immediate ? single<bit_of_register<Change, T, true>> : single<bit_of_register<Change, T, false>>;
    });
}

template <class Operation>
Handler choose_bits(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    op.dst = register_offset(a);
    return by_wide_size(a.size, [&]<class T>() -> Handler {
        if (b.kind == OperandKind::Memory) {
            return by_form(c.form, []<Form kForm>() -> Handler { return single<bits_of_memory<Operation, T, kForm>>; });
        }
        op.src = register_offset(b);
        return single<bits_of_register<Operation, T>>;
    });
}

Handler choose_crc32(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    op.dst = register_offset(a);
    if (b.kind == OperandKind::Gpr) op.src = register_offset(b);
    return by_size(b.size, [&]<class T>() -> Handler {
        if (b.kind == OperandKind::Gpr) return single<crc32_register<T>>;
        return by_form(c.form, []<Form kForm>() -> Handler { return single<crc32_memory<T, kForm>>; });
    });
}

}  // namespace

Handler choose_bit(const Choice& c, Op& op) {
    switch (c.insn->mnemonic) {
        case ZYDIS_MNEMONIC_BT: return choose_bit_operation<BitKept>(c, op);
        case ZYDIS_MNEMONIC_BTS: return choose_bit_operation<BitSet>(c, op);
        case ZYDIS_MNEMONIC_BTR: return choose_bit_operation<BitReset>(c, op);
        case ZYDIS_MNEMONIC_BTC: return choose_bit_operation<BitComplemented>(c, op);
        case ZYDIS_MNEMONIC_BSF: return choose_bits<Scan<false>>(c, op);
        case ZYDIS_MNEMONIC_BSR: return choose_bits<Scan<true>>(c, op);
        case ZYDIS_MNEMONIC_CRC32: return choose_crc32(c, op);
        case ZYDIS_MNEMONIC_POPCNT: return choose_bits<CountBits>(c, op);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast
