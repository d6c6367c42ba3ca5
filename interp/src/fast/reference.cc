#include <bit>

#include "../reference_call.h"
#include "branch.h"
#include "mxcsr.h"

namespace dualvm::interp::fast {

namespace {

// Kept out of line: the common way out of `reference` is straight on.
[[gnu::noinline]] void leave_after(State* s, const Op* op, i64 ticks, u32 flags, Flow flow) {
    const i64 not_done = block_of(op)->count - op->position - 1;
    Leave reason = Leave::Lookup;
    switch (flow) {
        case Flow::Next:
        case Flow::Jump: break;
        case Flow::Fault: reason = Leave::Fault; break;
        case Flow::Again:
            reason = Leave::Again;
            s->cpu.general.rip = s->insn_rip;
            break;
        case Flow::Halt: reason = Leave::Halt; break;
    }
    leave(s, op, ticks + not_done, flags, reason);
}

}  // namespace

void reference(DUALVM_ARGUMENTS) {
    s->op = op;
    s->ticks = ticks;
    s->cpu.general.rflags = merge_flags(s->cpu.general.rflags, flags);
    Taken taken{};
    if (__builtin_expect(s->mxcsr_in_host, 0)) taken = give_back(*s);
    const Flow flow = run_reference(*s, insn_of(op), rip_of(op));
    flags = pack_flags(s->cpu.general.rflags);
    sp = s->cpu.general.gpr[RSP];
    if (__builtin_expect(flow != Flow::Next || s->code_written || s->io_done || s->work_left <= 0, 0)) {
        return leave_after(s, op, ticks, flags, flow);
    }
    if (__builtin_expect(taken.mxcsr, 0)) take_again(*s, taken);  // the rest of the block counts on it
    DUALVM_NEXT;
}

void take_mxcsr(DUALVM_ARGUMENTS) {
    if (!s->mxcsr_in_host) take_mxcsr(*s);
    DUALVM_TAIL std::bit_cast<Handler>(op->imm)(DUALVM_PASS);
}

u16 register_offset(const Operand& operand) { return static_cast<u16>(operand.reg * 8 + (operand.high8 ? 1 : 0)); }

u16 address_register_offset(u8 reg) { return reg == kNoRegister ? State::kZeroOffset : static_cast<u16>(reg * 8); }

}  // namespace dualvm::interp::fast
