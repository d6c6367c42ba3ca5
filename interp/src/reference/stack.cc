// PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE.
#include "../virtual_interrupts.h"
#include "conditions.h"
#include "reference.h"
#include "reference_flags.h"
#include "system_forms.h"

namespace dualvm::interp {

namespace {

// The bytes that a stack instruction moves.
unsigned stack_operand_size(const Insn& insn) { return insn.operand_size; }

// PUSH: the operand is read before RSP changes, so PUSH RSP pushes the old value, and PUSH [RSP+n] addresses by it.
Flow push_operand(State& s, const Insn& insn) {
    if (insn.operand[0].kind == OperandKind::Segment) return push_segment(s, insn);
    u64 value = 0;
    if (insn.operand[0].kind == OperandKind::Immediate) {
        value = insn.operand[0].imm;
    } else if (!read_operand(s, insn, 0, value)) {
        return Flow::Fault;
    }
    return push(s, stack_operand_size(insn), value) ? Flow::Next : Flow::Fault;
}

// POP: a memory operand's address is computed with RSP already incremented; POP RSP keeps what was popped.
Flow pop_operand(State& s, const Insn& insn) {
    if (insn.operand[0].kind == OperandKind::Segment) return pop_segment(s, insn);
    const u64 rsp = s.cpu.general.gpr[RSP];
    u64 value = 0;
    if (!pop(s, stack_operand_size(insn), value)) return Flow::Fault;
    if (!write_operand(s, insn, 0, value)) {
        s.cpu.general.gpr[RSP] = rsp;
        return Flow::Fault;
    }
    return Flow::Next;
}

// PUSHA: AX CX DX BX, SP as it was, BP SI DI. All eight places are checked before the first is written.
Flow pusha(State& s, const Insn& insn) {
    const unsigned size = stack_operand_size(insn);
    const u64 mask = size_mask(stack_size(s)), top = s.cpu.general.gpr[RSP];
    std::array<u64, 8> linear{};
    for (unsigned i = 0; i < 8; ++i) {
        const u64 offset = (top - u64{i + 1} * size) & mask;
        if (!linear_address(s, SS, offset, size, Access::Write, linear[i])) return Flow::Fault;
        if (!check_linear(s, linear[i], size, Access::Write)) return Flow::Fault;
    }
    for (unsigned i = 0; i < 8; ++i) {
        const u64 value = i == RSP ? top : s.cpu.general.gpr[i];
        if (!write_linear(s, linear[i], &value, size)) return Flow::Fault;
    }
    set_stack_pointer(s, top - u64{8} * size);
    return Flow::Next;
}

// POPA: the other way round; the popped SP is thrown away.
Flow popa(State& s, const Insn& insn) {
    const unsigned size = stack_operand_size(insn);
    const u64 mask = size_mask(stack_size(s)), top = s.cpu.general.gpr[RSP];
    std::array<u64, 8> values{};
    for (unsigned i = 0; i < 8; ++i) {
        if (!read_value(s, SS, (top + u64{i} * size) & mask, size, values[7 - i])) return Flow::Fault;
    }
    for (unsigned i = 0; i < 8; ++i) {
        if (i != RSP) write_gpr(s, i, size, values[i]);
    }
    set_stack_pointer(s, top + u64{8} * size);
    return Flow::Next;
}

// PUSHF: VM and RF are pushed as 0. In virtual-8086 mode it wants IOPL 3, or VME and 16 bits.
Flow pushf(State& s, const Insn& insn) {
    if (has_virtual_flags(s, stack_operand_size(insn))) return push(s, 2, virtual_flags(s)) ? Flow::Next : Flow::Fault;
    if (s.virtual8086() && io_privilege_level(s) != 3) return s.raise(GP, 0);
    const u64 image = s.cpu.general.rflags & ~(rflags::VM | rflags::RF);
    return push(s, stack_operand_size(insn), image) ? Flow::Next : Flow::Fault;
}

// POPF: who may change what (SDM vol. 2B, "POPF", table 4-16): IOPL at CPL 0 only; IF if CPL <= IOPL; VM, VIF and VIP
// never; RF is cleared. A 16-bit POPF leaves the upper half alone.
Flow popf(State& s, const Insn& insn) {
    if (has_virtual_flags(s, stack_operand_size(insn))) {
        const u64 top = s.cpu.general.gpr[RSP];
        u64 virtual_image = 0;
        if (!pop(s, 2, virtual_image)) return Flow::Fault;
        if (load_virtual_flags(s, virtual_image)) return Flow::Jump;
        s.cpu.general.gpr[RSP] = top;
        return Flow::Fault;
    }
    if (s.virtual8086() && io_privilege_level(s) != 3) return s.raise(GP, 0);
    const unsigned size = stack_operand_size(insn);
    u64 image = 0;
    if (!pop(s, size, image)) return Flow::Fault;
    u64 writable = rflags::Arithmetic | rflags::TF | rflags::DF | rflags::NT | rflags::AC | rflags::ID;
    const u32 cpl = s.cpu.cpl();
    if (cpl == 0) writable |= rflags::IOPL;
    if (cpl <= io_privilege_level(s)) writable |= rflags::IF;
    writable &= size_mask(size);
    set_flags(s, writable, image);
    if (size > 2) s.cpu.general.rflags &= ~rflags::RF;
    return Flow::Jump;  // TF, IF and AC want to be looked at
}

// ENTER: pushes RBP, then for nesting levels the display of the enclosing frames, then makes room for locals. All that
// can fault is done on a copy of RSP and RBP first.
Flow enter(State& s, const Insn& insn) {
    const unsigned size = stack_operand_size(insn);
    const u64 room = insn.operand[0].imm & 0xffff, mask = size_mask(stack_size(s));
    const unsigned level = static_cast<unsigned>(insn.operand[1].imm & 31);
    const u64 old_rsp = s.cpu.general.gpr[RSP], old_rbp = s.cpu.general.gpr[RBP];
    auto undo = [&] {
        s.cpu.general.gpr[RSP] = old_rsp;
        return Flow::Fault;
    };
    if (!push(s, size, old_rbp)) return undo();
    const u64 frame = s.cpu.general.gpr[RSP];
    if (level > 0) {
        u64 display = old_rbp;
        for (unsigned i = 1; i < level; ++i) {
            display -= size;
            u64 pointer = 0;
            if (!read_value(s, SS, display & mask, size, pointer) || !push(s, size, pointer)) return undo();
        }
        if (!push(s, size, frame)) return undo();
    }
    const u64 top = (s.cpu.general.gpr[RSP] - room) & mask;
    // ENTER faults if a write at the new stack pointer would (SDM vol. 2A, "ENTER").
    u64 linear = 0;
    if (!linear_address(s, SS, top, size, Access::Write, linear) || !check_linear(s, linear, size, Access::Write)) {
        return undo();
    }
    write_gpr(s, RBP, size, frame);
    set_stack_pointer(s, top);
    return Flow::Next;
}

// LEAVE: RSP := RBP; RBP := pop.
Flow leave(State& s, const Insn& insn) {
    const unsigned size = stack_operand_size(insn);
    const u64 frame = s.cpu.general.gpr[RBP] & size_mask(stack_size(s));
    u64 value = 0;
    if (!read_value(s, SS, frame, size, value)) return Flow::Fault;
    set_stack_pointer(s, frame + size);
    write_gpr(s, RBP, size, value);
    return Flow::Next;
}

}  // namespace

void add_stack_instructions(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_PUSH, push_operand);
    table.add(ZYDIS_MNEMONIC_POP, pop_operand);
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_PUSHA, ZYDIS_MNEMONIC_PUSHAD}) table.add(m, pusha);
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_POPA, ZYDIS_MNEMONIC_POPAD}) table.add(m, popa);
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFD, ZYDIS_MNEMONIC_PUSHFQ}) table.add(m, pushf);
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFD, ZYDIS_MNEMONIC_POPFQ}) table.add(m, popf);
    table.add(ZYDIS_MNEMONIC_ENTER, enter);
    table.add(ZYDIS_MNEMONIC_LEAVE, leave);
}

}  // namespace dualvm::interp
