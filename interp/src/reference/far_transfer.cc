// Far jumps, calls and returns, IRET and software interrupts: everything that changes CS.
//
// SDM vol. 2A/2B, "JMP", "CALL", "RET", "IRET", "INT n" hold the pseudo-code; vol. 3A, 5.8 the rules of privilege.
#include "../privilege.h"
#include "../task_switch.h"
#include "../virtual_interrupts.h"
#include "reference.h"
#include "system_forms.h"

namespace dualvm::interp {

namespace {

bool has_descriptors(const State& s) { return s.protected_mode() && !s.virtual8086(); }

struct FarPointer {
    u16 selector = 0;
    u64 offset = 0;
};

bool read_far_pointer(State& s, const Insn& insn, FarPointer& pointer) {
    const Operand& operand = insn.operand[0];
    if (operand.kind == OperandKind::FarPointer) {
        pointer = {.selector = operand.far_selector, .offset = operand.imm & size_mask(insn.operand_size)};
        return true;
    }
    const u64 address = effective_address(s, insn);
    u64 selector = 0;
    if (!read_value(s, insn.segment, address, insn.operand_size, pointer.offset)) return false;
    const u64 second = (address + insn.operand_size) & size_mask(insn.address_size);
    if (!read_value(s, insn.segment, second, 2, selector)) return false;
    pointer.selector = static_cast<u16>(selector);
    return true;
}

// --- checks of a new code segment

// L and D both set is reserved in IA-32e mode.
bool reserved_code_size(const State& s, const Descriptor& d) {
    return s.long_mode_active() && d.is_64bit() && d.is_default_large();
}

// A code segment named by the far pointer itself: same privilege, or conforming and at least as privileged (5.8.1).
bool check_direct_target(State& s, u16 selector, const Descriptor& d) {
    const u32 cpl = s.cpu.cpl();
    const bool privilege_fits = d.is_conforming_code() ? d.dpl() <= cpl : d.dpl() == cpl && rpl(selector) <= cpl;
    if (!privilege_fits || reserved_code_size(s, d)) return fault(s, GP, selector_error(selector));
    return d.present() || fault(s, NP, selector_error(selector));
}

// A code segment named by a call gate (5.8.4). Only CALL can go to an inner level.
bool check_gate_target(State& s, u16 selector, const Descriptor& d, bool call) {
    const u32 cpl = s.cpu.cpl();
    const bool privilege_fits = call || d.is_conforming_code() ? d.dpl() <= cpl : d.dpl() == cpl;
    if (!d.is_code() || !privilege_fits) return fault(s, GP, selector_error(selector));
    if (s.long_mode_active() && (!d.is_64bit() || d.is_default_large())) return fault(s, GP, selector_error(selector));
    return d.present() || fault(s, NP, selector_error(selector));
}

// A code segment that a return goes to, at the privilege of its RPL (5.8.6).
bool check_return_target(State& s, u16 selector, const Descriptor& d) {
    const u32 level = rpl(selector);
    const bool privilege_fits = d.is_conforming_code() ? d.dpl() <= level : d.dpl() == level;
    if (level < s.cpu.cpl() || !d.is_code() || !privilege_fits || reserved_code_size(s, d))
        return fault(s, GP, selector_error(selector));
    return d.present() || fault(s, NP, selector_error(selector));
}

// --- call gates

// Words of the caller's stack that a gate copies to the new one, the last pushed first.
bool read_parameters(State& s, unsigned size, u32 count, std::array<u64, 31>& parameters) {
    const u64 stack_pointer = s.cpu.general.gpr[RSP];
    for (u32 i = 0; i < count; ++i) {
        const u64 offset = (stack_pointer + u64{i} * size) & size_mask(stack_size(s));
        if (!read_value(s, SS, offset, size, parameters[i])) return false;
    }
    return true;
}

bool push_gate_frame(State& s, unsigned size, bool inner, u32 count, const std::array<u64, 31>& parameters,
                     const Transaction& old) {
    if (inner) {
        if (!push(s, size, old.old_segment(SS).selector) || !push(s, size, old.old_general().gpr[RSP])) return false;
        for (u32 i = count; i-- > 0;)
            if (!push(s, size, parameters[i])) return false;
    }
    return push(s, size, old.old_segment(CS).selector) && push(s, size, old.old_general().rip);
}

bool through_call_gate(State& s, u16 gate_selector, Descriptor& gate, bool call, const Transaction& old) {
    const u32 cpl = s.cpu.cpl();
    if (gate.dpl() < cpl || gate.dpl() < rpl(gate_selector)) return fault(s, GP, selector_error(gate_selector));
    if (!gate.present()) return fault(s, NP, selector_error(gate_selector));
    if (!fetch_upper_half(s, gate_selector, GP, 0, gate)) return false;
    const u16 selector = gate.gate_selector();
    if (is_null(selector)) return fault(s, GP, 0);
    Descriptor code;
    if (!fetch_descriptor(s, selector, GP, 0, code) || !check_gate_target(s, selector, code, call)) return false;

    const bool gate16 = gate.type() == kCallGate16;
    const unsigned size = s.long_mode_active() ? 8 : gate16 ? 2 : 4;
    const u64 offset = gate16 ? gate.gate_offset() & 0xffff : gate.gate_offset();
    const bool inner = call && !code.is_conforming_code() && code.dpl() < cpl;
    const u32 level = inner ? code.dpl() : cpl;
    const u32 count = s.long_mode_active() ? 0 : gate.gate_parameters();
    std::array<u64, 31> parameters{};
    if (inner && (!read_parameters(s, size, count, parameters) || !switch_to_inner_stack(s, level, 0))) return false;
    if (!check_target(s, code, offset, 0) || !install_code_segment(s, selector, code, level)) return false;
    privilege_changed(s);
    if (!install_instruction_pointer(s, offset, 0)) return false;
    if (call && !push_gate_frame(s, size, inner, count, parameters, old)) {
        if (inner && s.fault.vector == SS_) s.fault.error_code = selector_error(s.cpu.segments.seg[SS].selector);
        return false;
    }
    return true;
}

// --- jumps and calls

bool push_return_address(State& s, unsigned size) {
    return push(s, size, s.cpu.segments.seg[CS].selector) && push(s, size, s.cpu.general.rip);
}

bool switch_by_far_pointer(State& s, u16 tss_selector, bool call) {
    return switch_task(s, {.how = call ? TaskEntry::Call : TaskEntry::Jump,
                           .selector = tss_selector,
                           .saved_rip = s.cpu.general.rip,
                           .saved_rflags = s.cpu.general.rflags});
}

// The far pointer names a system descriptor: a gate or a task.
bool to_system_descriptor(State& s, u16 selector, Descriptor& d, bool call, const Transaction& old) {
    const bool long_mode = s.long_mode_active();
    const u32 type = d.type();
    if (type == kCallGate32 || (type == kCallGate16 && !long_mode)) return through_call_gate(s, selector, d, call, old);
    if (long_mode || (type != kTaskGate && !is_available_tss(type))) return fault(s, GP, selector_error(selector));
    if (d.dpl() < s.cpu.cpl() || d.dpl() < rpl(selector)) return fault(s, GP, selector_error(selector));
    if (type != kTaskGate) return switch_by_far_pointer(s, selector, call);
    if (!d.present()) return fault(s, NP, selector_error(selector));
    return switch_by_far_pointer(s, d.gate_selector(), call);
}

bool transfer(State& s, const Insn& insn, bool call, const Transaction& old) {
    FarPointer target;
    if (!read_far_pointer(s, insn, target)) return false;
    if (!has_descriptors(s)) {
        const u64 limit = s.virtual8086() ? 0xffff : s.cpu.segments.seg[CS].limit;
        if (target.offset > limit) return fault(s, GP, 0);
        if (call && !push_return_address(s, insn.operand_size)) return false;
        if (s.virtual8086())
            s.cpu.segments.seg[CS] = virtual8086_segment(target.selector);
        else
            load_real_segment(s, CS, target.selector);
        return install_instruction_pointer(s, target.offset, 0);
    }
    if (is_null(target.selector)) return fault(s, GP, 0);
    Descriptor d;
    if (!fetch_descriptor(s, target.selector, GP, 0, d)) return false;
    if (d.is_system()) return to_system_descriptor(s, target.selector, d, call, old);
    if (!d.is_code()) return fault(s, GP, selector_error(target.selector));
    if (!check_direct_target(s, target.selector, d) || !check_target(s, d, target.offset, 0)) return false;
    if (call && !push_return_address(s, insn.operand_size)) return false;
    return install_code_segment(s, target.selector, d, s.cpu.cpl()) && install_instruction_pointer(s, target.offset, 0);
}

bool jump_body(State& s, const Insn& insn, const Transaction& old) { return transfer(s, insn, false, old); }
bool call_body(State& s, const Insn& insn, const Transaction& old) { return transfer(s, insn, true, old); }

// --- returns

// After a return to an outer level, segments that it may not have used are taken away (5.8.6).
void drop_inner_segments(State& s) {
    for (const SegmentName name : {ES, DS, FS, GS}) {
        Segment& segment = s.cpu.segments.seg[name];
        constexpr u32 kConformingCode = 0xc;
        const bool conforming = (segment.type() & kConformingCode) == kConformingCode;
        // Null with RPL 0 is what it is then, or stays; but FS.base and GS.base of 64-bit programs live behind null
        // selectors (SDM vol. 2A, "IRET", RETURN-TO-OUTER-PRIVILEGE-LEVEL: "SegmentSelector := 0", no more).
        if (is_null(segment.selector)) {
            segment.selector = 0;
        } else if (!conforming && segment.dpl() < s.cpu.cpl()) {
            const u64 base = segment.base;
            segment = null_segment(0);
            segment.base = base;
        }
    }
}

// SS at a return that pops it: null is allowed for 64-bit code below CPL 3.
bool returned_stack_segment(State& s, u16 selector, u32 level, bool to_64bit, Segment& into) {
    if (is_null(selector) && to_64bit && level != 3 && rpl(selector) == level) {
        into = null_segment(selector, level);
        return true;
    }
    return stack_segment(s, selector, level, GP, 0, into);
}

// What is common to RET and IRET in protected mode once CS and the instruction pointer are off the stack. `release` is
// RET's operand, taken from both stacks; `always_pops_stack` is IRET in 64-bit mode.
bool return_to(State& s, u16 selector, u64 rip, unsigned size, u64 release, bool always_pops_stack) {
    const u32 old_cpl = s.cpu.cpl();
    if (is_null(selector)) return fault(s, GP, 0);
    Descriptor code;
    if (!fetch_descriptor(s, selector, GP, 0, code) || !check_return_target(s, selector, code)) return false;
    const u32 level = rpl(selector);
    const bool to_64bit = s.long_mode_active() && code.is_64bit();

    set_stack_pointer(s, s.cpu.general.gpr[RSP] + release);
    if (level == old_cpl && !always_pops_stack)
        return check_target(s, code, rip, 0) && install_code_segment(s, selector, code, level) &&
               install_instruction_pointer(s, rip, 0);

    u64 stack_pointer = 0, stack_selector = 0;
    Segment stack;
    if (!pop(s, size, stack_pointer) || !pop(s, size, stack_selector)) return false;
    if (!returned_stack_segment(s, static_cast<u16>(stack_selector), level, to_64bit, stack)) return false;
    if (!check_target(s, code, rip, 0) || !install_code_segment(s, selector, code, level) ||
        !install_instruction_pointer(s, rip, 0))
        return false;
    s.cpu.segments.seg[SS] = stack;
    // A 16-bit stack takes only SP; the rest of ESP stays the inner level's.
    set_stack_pointer(s, stack_pointer + release);
    if (level > old_cpl) drop_inner_segments(s);
    return true;
}

bool return_body(State& s, const Insn& insn, const Transaction&) {
    const unsigned size = insn.operand_size;
    const u64 release = insn.operand_count > 0 ? insn.operand[0].imm & 0xffff : 0;
    u64 rip = 0, selector = 0;
    if (!pop(s, size, rip) || !pop(s, size, selector)) return false;
    if (has_descriptors(s)) return return_to(s, static_cast<u16>(selector), rip, size, release, false);
    if (s.virtual8086())
        s.cpu.segments.seg[CS] = virtual8086_segment(static_cast<u16>(selector));
    else
        load_real_segment(s, CS, static_cast<u16>(selector));
    set_stack_pointer(s, s.cpu.general.gpr[RSP] + release);
    return install_instruction_pointer(s, rip, 0);
}

// --- IRET

// Takes the flags in `mask` from a popped image; a 16-bit image holds only the low half.
void load_flags(State& s, u64 image, u64 mask, unsigned size) {
    if (size == 2) mask &= 0xffff;
    s.cpu.general.rflags = (s.cpu.general.rflags & ~mask) | (image & mask) | rflags::Fixed1;
}
constexpr u64 kAlwaysLoaded =
    rflags::Arithmetic | rflags::TF | rflags::DF | rflags::NT | rflags::RF | rflags::AC | rflags::ID;

// Real and virtual-8086 mode. The latter needs IOPL 3, and cannot change it; or VME and 16 bits.
bool interrupt_return_real(State& s, unsigned size) {
    const bool v86 = s.virtual8086();
    const bool virtual_flags_only = has_virtual_flags(s, size);
    if (v86 && io_privilege_level(s) != 3 && !virtual_flags_only) return fault(s, GP, 0);
    u64 ip = 0, selector = 0, flags = 0;
    if (!pop(s, size, ip) || !pop(s, size, selector) || !pop(s, size, flags)) return false;
    if (v86)
        s.cpu.segments.seg[CS] = virtual8086_segment(static_cast<u16>(selector));
    else
        load_real_segment(s, CS, static_cast<u16>(selector));
    if (!virtual_flags_only)
        load_flags(s, flags, kAlwaysLoaded | rflags::IF | (v86 ? 0 : rflags::IOPL), size);
    else if (!load_virtual_flags(s, flags))
        return false;
    return install_instruction_pointer(s, ip, 0);
}

// From level 0 to a virtual-8086 program: nine doublewords (20.2.2).
bool return_to_virtual8086(State& s, u64 ip, u16 code_selector, u64 flags) {
    u64 stack_pointer = 0;
    std::array<u64, 5> selectors{};
    if (!pop(s, 4, stack_pointer)) return false;
    for (u64& selector : selectors)
        if (!pop(s, 4, selector)) return false;
    constexpr std::array<SegmentName, 5> kOrder{SS, ES, DS, FS, GS};
    for (std::size_t i = 0; i < kOrder.size(); ++i)
        s.cpu.segments.seg[kOrder[i]] = virtual8086_segment(static_cast<u16>(selectors[i]));
    s.cpu.segments.seg[CS] = virtual8086_segment(code_selector);
    s.cpu.general.gpr[RSP] = stack_pointer;
    load_flags(s, flags, kAlwaysLoaded | rflags::IF | rflags::IOPL | rflags::VM | rflags::VIF | rflags::VIP, 4);
    return install_instruction_pointer(s, ip, 0);
}

// With NT set, IRET goes back to the task whose selector is in the link field of the current TSS (7.4).
bool return_to_previous_task(State& s) {
    if (s.long_mode_active()) return fault(s, GP, 0);
    u16 link = 0;
    if (!read_linear_value(s, s.cpu.segments.tr.base, link, Privilege::Supervisor)) return false;
    return switch_task(s, {.how = TaskEntry::Return,
                           .selector = link,
                           .saved_rip = s.cpu.general.rip,
                           .saved_rflags = s.cpu.general.rflags});
}

bool interrupt_return_body(State& s, const Insn& insn, const Transaction& old) {
    const unsigned size = insn.operand_size;
    if (!has_descriptors(s)) return interrupt_return_real(s, size);
    const u64 old_flags = old.old_general().rflags;
    if ((old_flags & rflags::NT) != 0) return return_to_previous_task(s);

    const u32 cpl = s.cpu.cpl();
    u64 rip = 0, selector = 0, flags = 0;
    if (!pop(s, size, rip) || !pop(s, size, selector) || !pop(s, size, flags)) return false;
    if (size == 4 && (flags & rflags::VM) != 0 && cpl == 0 && !s.long_mode_active())
        return return_to_virtual8086(s, rip, static_cast<u16>(selector), flags);
    if (!return_to(s, static_cast<u16>(selector), rip, size, 0, s.code64())) return false;

    u64 mask = kAlwaysLoaded;
    if (cpl <= (old_flags & rflags::IOPL) >> 12) mask |= rflags::IF;
    if (cpl == 0) mask |= rflags::IOPL | rflags::VIF | rflags::VIP;
    load_flags(s, flags, mask, size);
    return true;
}

Flow interrupt_return(State& s, const Insn& insn) {
    // NMIs are unblocked even by an IRET that faults (6.7.1).
    s.cpu.events.nmi_masked = false;
    return all_or_nothing(s, insn, interrupt_return_body);
}

// --- software interrupts

Flow deliver(State& s, EventKind kind, u8 vector) {
    const Event event{.kind = kind, .vector = vector, .return_rip = s.cpu.general.rip};
    return deliver_event(s, event) ? Flow::Jump : Flow::Fault;
}

// INT n of a virtual-8086 program to a handler of its own: as in real mode, by the vector table at 0 (20.3.3).
bool redirected_interrupt_body(State& s, const Insn& insn, const Transaction&) {
    const u64 entry = (insn.operand[0].imm & 0xff) * 4;
    u16 ip = 0, cs = 0;
    if (!read_linear_value(s, entry, ip) || !read_linear_value(s, entry + 2, cs)) return false;
    const bool own_flag = io_privilege_level(s) == 3;
    const u64 flags = own_flag ? s.cpu.general.rflags : virtual_flags(s);
    if (!push(s, 2, flags) || !push(s, 2, s.cpu.segments.seg[CS].selector) || !push(s, 2, s.cpu.general.rip))
        return false;
    s.cpu.general.rflags &= ~(rflags::TF | rflags::RF | (own_flag ? rflags::IF : rflags::VIF));
    s.cpu.segments.seg[CS] = virtual8086_segment(cs);
    return install_instruction_pointer(s, ip, 0);
}

Flow int_n(State& s, const Insn& insn) {
    const u8 vector = static_cast<u8>(insn.operand[0].imm);
    bool redirected = false;
    if (!redirects_interrupt(s, vector, redirected)) return Flow::Fault;
    if (redirected) return all_or_nothing(s, insn, redirected_interrupt_body);
    return deliver(s, EventKind::SoftwareInterrupt, vector);
}
Flow int1(State& s, const Insn&) { return deliver(s, EventKind::Int1, DB); }
Flow int3(State& s, const Insn&) { return deliver(s, EventKind::SoftwareException, BP); }
Flow into(State& s, const Insn&) {
    if ((s.cpu.general.rflags & rflags::OF) == 0) return Flow::Next;
    return deliver(s, EventKind::SoftwareException, OF);
}

}  // namespace

Flow far_jump(State& s, const Insn& insn) { return all_or_nothing(s, insn, jump_body); }
Flow far_call(State& s, const Insn& insn) { return all_or_nothing(s, insn, call_body); }
Flow far_return(State& s, const Insn& insn) { return all_or_nothing(s, insn, return_body); }

void add_far_transfers(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_IRET, interrupt_return);
    table.add(ZYDIS_MNEMONIC_IRETD, interrupt_return);
    table.add(ZYDIS_MNEMONIC_IRETQ, interrupt_return);
    table.add(ZYDIS_MNEMONIC_INT, int_n);
    table.add(ZYDIS_MNEMONIC_INT1, int1);
    table.add(ZYDIS_MNEMONIC_INT3, int3);
    table.add(ZYDIS_MNEMONIC_INTO, into);
}

}  // namespace dualvm::interp
