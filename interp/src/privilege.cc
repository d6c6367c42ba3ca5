#include "privilege.h"

namespace dualvm::interp {

Flow all_or_nothing(State& s, const Insn& insn, bool (*body)(State&, const Insn&, const Transaction&)) {
    Transaction transaction(s);
    if (!body(s, insn, transaction)) return Flow::Fault;
    transaction.keep();
    return Flow::Jump;
}

namespace {

// `size` bytes of the current TSS as a number; #TS(TR) if they are beyond its limit.
bool read_tss(State& s, u32 offset, unsigned size, u32 ext, u64& value) {
    const Segment& tr = s.cpu.segments.tr;
    if (offset + size - 1 > tr.limit) return fault(s, TS, selector_error(tr.selector, ext));
    value = 0;
    const u64 linear = s.long_mode_active() ? tr.base + offset : (tr.base + offset) & 0xffffffff;
    return read_linear(s, linear, &value, size, Privilege::Supervisor);
}

// RSP from the TSS of IA-32e mode; #SS if it is not canonical (SDM vol. 2A, "INT n": "NewRSP points to a non-canonical
// address").
bool read_stack_pointer(State& s, u32 offset, u32 ext) {
    u64 stack_pointer = 0;
    if (!read_tss(s, offset, 8, ext, stack_pointer)) return false;
    if (!is_canonical(stack_pointer)) return fault(s, SS_, ext);
    s.cpu.general.gpr[RSP] = stack_pointer;
    return true;
}

}  // namespace

bool switch_to_inner_stack(State& s, u32 level, u32 ext) {
    Segment& ss = s.cpu.segments.seg[SS];
    if (s.long_mode_active()) {
        if (!read_stack_pointer(s, 4 + 8 * level, ext)) return false;
        ss = null_segment(static_cast<u16>(level), level);
        return true;
    }
    const bool tss32 = s.cpu.segments.tr.type() == kTss32Busy;
    const unsigned width = tss32 ? 4 : 2;
    const u32 offset = width + 2 * width * level;  // behind the link field: SP0, SS0, SP1, SS1, SP2, SS2
    u64 stack_pointer = 0, selector = 0;
    if (!read_tss(s, offset, width, ext, stack_pointer)) return false;
    if (!read_tss(s, offset + width, 2, ext, selector)) return false;
    if (!stack_segment(s, static_cast<u16>(selector), level, TS, ext, ss)) return false;
    s.cpu.general.gpr[RSP] = stack_pointer;
    return true;
}

bool switch_to_interrupt_stack(State& s, u32 ist, u32 ext) { return read_stack_pointer(s, 28 + 8 * ist, ext); }

bool check_target(State& s, const Descriptor& code, u64 rip, u32 ext) {
    const bool to_64bit = s.long_mode_active() && code.is_64bit();
    const bool within = to_64bit ? is_canonical(rip) : (rip & 0xffffffff) <= code.limit();
    return within || fault(s, GP, ext);
}

bool install_code_segment(State& s, u16 selector, const Descriptor& descriptor, u32 cpl) {
    if (!mark_accessed(s, descriptor)) return false;
    s.cpu.segments.seg[CS] = descriptor.segment(with_rpl(selector, cpl));
    return true;
}

bool install_instruction_pointer(State& s, u64 rip, u32 ext) {
    if (s.code64()) {
        if (!is_canonical(rip)) return fault(s, GP, ext);
    } else {
        rip &= 0xffffffff;
        if (rip > s.cpu.segments.seg[CS].limit) return fault(s, GP, ext);
    }
    s.cpu.general.rip = rip;
    return true;
}

}  // namespace dualvm::interp
