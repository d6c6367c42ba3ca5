// Fast forms of XCHG XADD CMPXCHG: choosing them.
#include "exchange.h"

#include <Zydis/Zydis.h>

namespace dualvm::interp::fast {

namespace {

Handler choose_xchg(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind == OperandKind::Gpr && b.kind == OperandKind::Gpr) {
        op.dst = register_offset(a);
        op.src = register_offset(b);
        return by_size(a.size, []<class T>() -> Handler { return single<xchg_registers<T>>; });
    }
    op.src = register_offset(a.kind == OperandKind::Memory ? b : a);
    return by_size(a.size, [&]<class T>() {
        return by_form(c.form, []<Form kForm>() -> Handler { return single<xchg_memory<T, kForm>>; });
    });
}

}  // namespace

Handler choose_exchange(const Choice& c, Op& op) {
    const Operand& a = c.insn->operand[0];
    switch (c.insn->mnemonic) {
        case ZYDIS_MNEMONIC_XCHG: return choose_xchg(c, op);
        case ZYDIS_MNEMONIC_XADD:
        case ZYDIS_MNEMONIC_CMPXCHG: break;
        default: return nullptr;
    }
    if (a.kind != OperandKind::Memory) return nullptr;
    op.src = register_offset(c.insn->operand[1]);
    const bool add = c.insn->mnemonic == ZYDIS_MNEMONIC_XADD;
    return by_size(a.size, [&]<class T>() {
        return by_form(c.form, [&]<Form kForm>() -> Handler {
            return add ? single<xadd_memory<T, kForm>> : single<cmpxchg_memory<T, kForm>>;
        });
    });
}

}  // namespace dualvm::interp::fast
