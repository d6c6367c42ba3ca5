// Delivery of interrupts and exceptions (SDM vol. 3A, ch. 6 and 20; vol. 2A, "INT n" has the pseudo-code).
#include "privilege.h"
#include "system.h"
#include "task_switch.h"

namespace dualvm::interp {

namespace {

// INT n, INT3 and INTO obey the gate's DPL and leave EXT clear; all else comes from outside the program (6.13).
bool is_software(EventKind kind) {
    return kind == EventKind::SoftwareInterrupt || kind == EventKind::SoftwareException;
}

// RFLAGS as the handler finds them on its stack. For faults RF is set, so that the instruction, when it is restarted,
// is not stopped by its own instruction breakpoint again; not for #DB, nor for the aborts (17.3.1.1).
u64 saved_flags(const State& s, const Event& event) {
    const bool is_fault =
        event.kind == EventKind::Exception && event.vector != DB && event.vector != DF && event.vector != MC;
    return s.cpu.general.rflags | (is_fault ? rflags::RF : 0);
}

// Real mode: the interrupt vector table of IP and CS pairs (20.1.4). There are no error codes.
bool deliver_in_real_mode(State& s, const Event& event) {
    const DescriptorTable& ivt = s.cpu.segments.idtr;
    const u32 offset = event.vector * 4u;
    if (offset + 3 > ivt.limit) return fault(s, GP, offset + kErrorIdt);
    u16 ip = 0, cs = 0;
    const u64 entry = (ivt.base + offset) & 0xffffffff;
    if (!read_linear_value(s, entry, ip, Privilege::Supervisor)) return false;
    if (!read_linear_value(s, entry + 2, cs, Privilege::Supervisor)) return false;

    if (!push(s, 2, s.cpu.general.rflags) || !push(s, 2, s.cpu.segments.seg[CS].selector) ||
        !push(s, 2, event.return_rip))
        return false;
    s.cpu.general.rflags &= ~(rflags::IF | rflags::TF | rflags::RF | rflags::AC);
    load_real_segment(s, CS, cs);
    return install_instruction_pointer(s, ip, 0);
}

// Reads the IDT entry and checks it as far as it can be checked without its target (6.12.1).
bool fetch_gate(State& s, const Event& event, u32 ext, Descriptor& gate) {
    const bool long_mode = s.long_mode_active();
    const u32 error = event.vector * 8u + kErrorIdt + ext;
    const u32 size = long_mode ? 16 : 8;
    const u32 offset = event.vector * size;
    const DescriptorTable& idt = s.cpu.segments.idtr;
    if (offset + size - 1 > idt.limit) return fault(s, GP, error);
    gate.address = long_mode ? idt.base + offset : (idt.base + offset) & 0xffffffff;
    if (!read_linear_value(s, gate.address, gate.low, Privilege::Supervisor)) return false;
    if (long_mode && !read_linear_value(s, gate.address + 8, gate.high, Privilege::Supervisor)) return false;

    const u32 type = gate.type();
    const bool known = type == kInterruptGate32 || type == kTrapGate32 ||
                       (!long_mode && (type == kInterruptGate16 || type == kTrapGate16 || type == kTaskGate));
    if (!gate.is_system() || !known) return fault(s, GP, error);
    if (is_software(event.kind) && gate.dpl() < s.cpu.cpl()) return fault(s, GP, error);
    if (!gate.present()) return fault(s, NP, error);
    return true;
}

bool deliver_through_task_gate(State& s, const Event& event, u32 ext, const Descriptor& gate) {
    return switch_task(s, {.how = TaskEntry::Interrupt,
                           .selector = gate.gate_selector(),
                           .ext = ext,
                           .saved_rip = event.return_rip,
                           .saved_rflags = saved_flags(s, event),
                           .has_error_code = event.has_error_code,
                           .error_code = event.error_code});
}

// The handler's code segment; `level` is the privilege that it will run at.
bool fetch_handler_segment(State& s, u16 selector, u32 ext, Descriptor& code, u32& level) {
    const u32 cpl = s.cpu.cpl();
    if (is_null(selector)) return fault(s, GP, ext);
    if (!fetch_descriptor(s, selector, GP, ext, code)) return false;
    if (!code.is_code() || code.dpl() > cpl) return fault(s, GP, selector_error(selector, ext));
    // In IA-32e mode handlers are 64-bit code (6.14.1).
    if (s.long_mode_active() && (!code.is_64bit() || code.is_default_large()))
        return fault(s, GP, selector_error(selector, ext));
    if (!code.present()) return fault(s, NP, selector_error(selector, ext));
    level = code.is_conforming_code() ? cpl : code.dpl();
    // Virtual-8086 mode is left to level 0 only (20.3.1).
    if (s.virtual8086() && level != 0) return fault(s, GP, selector_error(selector, ext));
    return true;
}

// Everything that goes on the handler's stack, in the order of figures 6-4, 6-9 and 20-4.
bool push_frame(State& s, const Event& event, unsigned size, bool with_stack, u64 flags, const Transaction& old) {
    if ((flags & rflags::VM) != 0) {
        for (const SegmentName name : {GS, FS, DS, ES})
            if (!push(s, size, old.old_segment(name).selector)) return false;
    }
    if (with_stack) {
        if (!push(s, size, old.old_segment(SS).selector)) return false;
        if (!push(s, size, old.old_general().gpr[RSP])) return false;
    }
    return push(s, size, flags) && push(s, size, old.old_segment(CS).selector) && push(s, size, event.return_rip) &&
           (!event.has_error_code || push(s, size, event.error_code));
}

// Protected mode and IA-32e mode: through a gate of the IDT.
bool deliver_through_idt(State& s, const Event& event, const Transaction& old) {
    const u32 ext = is_software(event.kind) ? 0 : kErrorExt;
    const bool long_mode = s.long_mode_active();
    const bool from_virtual8086 = s.virtual8086();
    const u32 cpl = s.cpu.cpl();
    // INT n in virtual-8086 mode is for the monitor to emulate unless IOPL is 3 (20.3.2; INT3 and INTO are not).
    if (from_virtual8086 && event.kind == EventKind::SoftwareInterrupt &&
        (s.cpu.general.rflags & rflags::IOPL) != rflags::IOPL)
        return fault(s, GP, 0);

    Descriptor gate, code;
    u32 level = 0;
    if (!fetch_gate(s, event, ext, gate)) return false;
    if (gate.type() == kTaskGate) return deliver_through_task_gate(s, event, ext, gate);
    if (!fetch_handler_segment(s, gate.gate_selector(), ext, code, level)) return false;

    const bool inner = level < cpl;
    const u64 flags = saved_flags(s, event);
    s.cpu.general.rflags &= ~rflags::VM;  // before anything is checked as the handler's
    const u32 ist = long_mode ? gate.gate_ist() : 0;
    if (ist != 0) {
        if (!switch_to_interrupt_stack(s, ist, ext)) return false;
        if (inner) s.cpu.segments.seg[SS] = null_segment(static_cast<u16>(level), level);
    } else if (inner && !switch_to_inner_stack(s, level, ext)) {
        return false;
    }
    if (!install_code_segment(s, gate.gate_selector(), code, level)) return false;
    privilege_changed(s);
    // The upper half of a 16-bit gate's offset does not count (SDM vol. 2A, "INT n").
    const bool gate16 = gate.type() == kInterruptGate16 || gate.type() == kTrapGate16;
    const u64 offset = gate16 ? gate.gate_offset() & 0xffff : gate.gate_offset();
    if (!install_instruction_pointer(s, offset, ext)) return false;

    // In IA-32e mode SS:RSP is always pushed, on a stack aligned to 16 bytes (6.14.2).
    if (long_mode) s.cpu.general.gpr[RSP] &= ~u64{15};
    const unsigned size = long_mode ? 8 : gate16 ? 2 : 4;
    if (!push_frame(s, event, size, inner || long_mode, flags, old)) {
        // The stack fault of a new stack names it (vol. 2A, "INT n").
        if (s.fault.vector == SS_) {
            const u16 selector = inner ? s.cpu.segments.seg[SS].selector : u16{0};
            s.fault.error_code = selector_error(selector, ext);
        }
        return false;
    }

    if (from_virtual8086)
        for (const SegmentName name : {ES, DS, FS, GS}) s.cpu.segments.seg[name] = null_segment(0);
    s.cpu.general.rflags &= ~(rflags::TF | rflags::NT | rflags::RF);
    const bool interrupt_gate = gate.type() == kInterruptGate16 || gate.type() == kInterruptGate32;
    if (interrupt_gate) s.cpu.general.rflags &= ~rflags::IF;
    return true;
}

// Classes of exceptions, for what a second one makes of a first (6.15, tables 6-4 and 6-5).
bool is_contributory(u8 vector) {
    return vector == DE || vector == TS || vector == NP || vector == SS_ || vector == GP;
}
bool makes_double_fault(u8 first, u8 second) {
    if (first == PF) return second == PF || is_contributory(second);
    return is_contributory(first) && is_contributory(second);
}

// Faults that come one in place of the other longer than there are vectors go round for ever: #AC whose own frame is
// misaligned, for a handler in ring 3. A CPU then does nothing else any more; the host goes on (see deliver_fault()).
constexpr int kVectorsOfExceptions = 32;

}  // namespace

bool deliver_event(State& s, const Event& event) {
    Transaction transaction(s);
    if (!(s.protected_mode() ? deliver_through_idt(s, event, transaction) : deliver_in_real_mode(s, event)))
        return false;
    transaction.keep();
    EventGroup& events = s.cpu.events;
    events.interrupt_shadow_sti = false;
    events.interrupt_shadow_mov_ss = false;
    events.halted = false;
    if (event.kind == EventKind::Nmi) events.nmi_masked = true;  // until IRET (6.7.1)
    // A debug handler may use the debug registers: general detection is off (17.2.4).
    constexpr u64 kGeneralDetect = 1u << 13;
    if (event.kind == EventKind::Exception && event.vector == DB) s.cpu.debug.dr7 &= ~kGeneralDetect;
    return true;
}

bool deliver_fault(State& s, u64 rip) {
    Fault first = s.fault;
    for (int round = 0; round < kVectorsOfExceptions; ++round) {
        // INT3's and INTO's come here from an engine that had them in flight: traps, and the program's own (6.12.1.3).
        const bool software = first.vector == BP || first.vector == OF;
        const Event event{.kind = software ? EventKind::SoftwareException : EventKind::Exception,
                          .vector = first.vector,
                          .has_error_code = first.has_error_code,
                          .error_code = first.error_code,
                          .return_rip = rip};
        if (deliver_event(s, event)) return true;
        if (first.vector == DF) return false;  // shutdown
        // A second fault either makes a double fault of both, or is handled in place of the first, which will happen
        // again when the instruction is restarted.
        if (makes_double_fault(first.vector, s.fault.vector))
            first = {.vector = DF, .has_error_code = true, .error_code = 0};
        else
            first = s.fault;
    }
    EventGroup& events = s.cpu.events;
    events.exception_pending = true;
    events.exception_vector = first.vector;
    events.exception_has_error_code = first.has_error_code;
    events.exception_error_code = first.error_code;
    s.cpu.general.rip = rip;
    return true;
}

}  // namespace dualvm::interp
