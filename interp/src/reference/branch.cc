// Near JMP Jcc CALL RET LOOP LOOPcc JCXZ JECXZ JRCXZ.
#include "conditions.h"
#include "reference.h"
#include "reference_flags.h"
#include "system_forms.h"

namespace dualvm::interp {

namespace {

// A branch target, cut to the operand size, is checked against the code segment's limit, in 64-bit mode for canonical
// form: #GP(0) at the branch itself (SDM vol. 2A, "JMP", "CALL", "RET").
bool check_target(State& s, u64 target) {
    const bool good =
        s.code64() ? sign_extend(target & 0xffffffffffff, 6) == target : target <= s.cpu.segments.seg[CS].limit;
    if (!good) s.raise(GP, 0);
    return good;
}

u64 relative_target(const State& s, const Insn& insn) {
    return (s.cpu.general.rip + insn.operand[0].imm) & size_mask(insn.operand_size);
}

Flow jump_to(State& s, u64 target) {
    if (!check_target(s, target)) return Flow::Fault;
    s.cpu.general.rip = target;
    return Flow::Jump;
}

// The target of a near JMP or CALL: relative, or from a register or memory.
bool read_target(State& s, const Insn& insn, u64& target) {
    if (insn.operand[0].kind == OperandKind::Relative) {
        target = relative_target(s, insn);
        return true;
    }
    return read_operand(s, insn, 0, target);
}

Flow jmp(State& s, const Insn& insn) {
    if (insn.far_branch) return far_jump(s, insn);
    u64 target = 0;
    if (!read_target(s, insn, target)) return Flow::Fault;
    return jump_to(s, target);
}

Flow jcc(State& s, const Insn& insn) {
    return condition_holds(s, insn) ? jump_to(s, relative_target(s, insn)) : Flow::Next;
}

// CALL: the target is checked before the return address is pushed.
Flow call(State& s, const Insn& insn) {
    if (insn.far_branch) return far_call(s, insn);
    u64 target = 0;
    if (!read_target(s, insn, target) || !check_target(s, target)) return Flow::Fault;
    if (!push(s, insn.operand_size, s.cpu.general.rip)) return Flow::Fault;
    s.cpu.general.rip = target;
    return Flow::Jump;
}

// RET, RET imm16: pops RIP, then adds imm16 to RSP.
Flow ret(State& s, const Insn& insn) {
    if (insn.far_branch) return far_return(s, insn);
    const u64 top = s.cpu.general.gpr[RSP] & size_mask(stack_size(s));
    u64 target = 0;
    if (!read_value(s, SS, top, insn.operand_size, target) || !check_target(s, target)) return Flow::Fault;
    const u64 released = insn.operand_count == 1 ? insn.operand[0].imm & 0xffff : 0;
    set_stack_pointer(s, top + insn.operand_size + released);
    s.cpu.general.rip = target;
    return Flow::Jump;
}

// LOOP, LOOPE, LOOPNE: count down (R)CX, of the address size; go on if it is not 0 (and ZF is as wanted). No flags.
Flow loop_while(State& s, const Insn& insn, bool condition) {
    const u64 count = (s.cpu.general.gpr[RCX] - 1) & size_mask(insn.address_size);
    const bool taken = count != 0 && condition;
    const u64 target = relative_target(s, insn);
    if (taken && !check_target(s, target)) return Flow::Fault;
    write_gpr(s, RCX, insn.address_size, count);
    if (!taken) return Flow::Next;
    s.cpu.general.rip = target;
    return Flow::Jump;
}
Flow loop(State& s, const Insn& insn) { return loop_while(s, insn, true); }
Flow loope(State& s, const Insn& insn) { return loop_while(s, insn, flag(s, rflags::ZF)); }
Flow loopne(State& s, const Insn& insn) { return loop_while(s, insn, !flag(s, rflags::ZF)); }

// JCXZ, JECXZ, JRCXZ: by the address size.
Flow jcxz(State& s, const Insn& insn) {
    if ((s.cpu.general.gpr[RCX] & size_mask(insn.address_size)) != 0) return Flow::Next;
    return jump_to(s, relative_target(s, insn));
}

}  // namespace

void add_near_branches(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_JMP, jmp);
    DUALVM_ADD_CONDITIONS(table, ZYDIS_MNEMONIC_J, jcc)
    table.add(ZYDIS_MNEMONIC_CALL, call);
    table.add(ZYDIS_MNEMONIC_RET, ret);
    table.add(ZYDIS_MNEMONIC_LOOP, loop);
    table.add(ZYDIS_MNEMONIC_LOOPE, loope);
    table.add(ZYDIS_MNEMONIC_LOOPNE, loopne);
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_JCXZ, ZYDIS_MNEMONIC_JECXZ, ZYDIS_MNEMONIC_JRCXZ}) table.add(m, jcxz);
}

}  // namespace dualvm::interp
