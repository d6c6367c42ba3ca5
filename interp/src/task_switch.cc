#include "task_switch.h"

#include <cstring>

#include "control_registers.h"

namespace dualvm::interp {

namespace {

// Offsets in a TSS (SDM vol. 3A, figures 7-2 and 7-10). `registers` is EAX..EDI or AX..DI; `segments` is ES, CS, SS,
// DS and, in 32 bits, FS, GS. All of it has the TSS's width, selectors in their low half.
struct TssLayout {
    unsigned width;
    u32 instruction_pointer, flags, registers, segments, segment_count, ldt, minimum_limit;
};
constexpr TssLayout kTss16{.width = 2,
                           .instruction_pointer = 0x0e,
                           .flags = 0x10,
                           .registers = 0x12,
                           .segments = 0x22,
                           .segment_count = 4,
                           .ldt = 0x2a,
                           .minimum_limit = 0x2b};
constexpr TssLayout kTss32{.width = 4,
                           .instruction_pointer = 0x20,
                           .flags = 0x24,
                           .registers = 0x28,
                           .segments = 0x48,
                           .segment_count = 6,
                           .ldt = 0x60,
                           .minimum_limit = 0x67};
constexpr u32 kTss32Cr3 = 0x1c, kTss32Trap = 0x64;

const TssLayout& layout_of(u32 type) { return (type & 8) != 0 ? kTss32 : kTss16; }

// A TSS in host memory.
struct TssImage {
    std::array<u8, 0x68> bytes{};

    u32 get(u32 offset, unsigned width) const {
        u32 value = 0;
        std::memcpy(&value, bytes.data() + offset, width);
        return value;
    }
};

// Finds the descriptor of the task to switch to, and checks it.
bool find_task(State& s, const TaskSwitch& request, Descriptor& d) {
    const bool back = request.how == TaskEntry::Return;
    const Vector vector = back ? TS : GP;
    const u32 error = selector_error(request.selector, request.ext);
    if (in_ldt(request.selector) || is_null(request.selector)) return fault(s, vector, error);
    if (!fetch_descriptor(s, request.selector, vector, request.ext, d)) return false;
    const bool right_type = d.is_system() && (back ? is_busy_tss(d.type()) : is_available_tss(d.type()));
    if (!right_type) return fault(s, vector, error);
    if (!d.present()) return fault(s, NP, error);
    if (d.limit() < layout_of(d.type()).minimum_limit) return fault(s, TS, error);
    return true;
}

// Stores the running task's registers in its TSS. Nothing of the CPU changes; the first page fault ends it.
bool save_task(State& s, const TaskSwitch& request) {
    const Segment& tr = s.cpu.segments.tr;
    const TssLayout& to = layout_of(tr.type());
    auto linear = [&](u32 offset) { return (tr.base + offset) & 0xffffffff; };
    const u32 begin = to.instruction_pointer;
    const u32 end = to.segments + to.segment_count * to.width;
    if (!check_linear(s, linear(begin), end - begin, Access::Write, Privilege::Supervisor)) return false;
    auto store = [&](u32 offset, unsigned size, u64 value) {
        return write_linear(s, linear(offset), &value, size, Privilege::Supervisor);
    };
    u64 flags = request.saved_rflags;
    if (request.how == TaskEntry::Return) flags &= ~rflags::NT;
    bool stored = store(to.instruction_pointer, to.width, request.saved_rip) && store(to.flags, to.width, flags);
    for (u32 i = 0; i < 8; ++i) stored = stored && store(to.registers + i * to.width, to.width, s.cpu.general.gpr[i]);
    for (u32 i = 0; i < to.segment_count; ++i)
        stored = stored && store(to.segments + i * to.width, 2, s.cpu.segments.seg[i].selector);
    return stored;
}

// The busy flags of both tasks and the link back: table 7-2.
bool link_tasks(State& s, const TaskSwitch& request, const Descriptor& incoming, u64 incoming_base) {
    const u16 old_selector = s.cpu.segments.tr.selector;
    if (request.how == TaskEntry::Jump || request.how == TaskEntry::Return) {
        Descriptor outgoing;
        if (!fetch_descriptor(s, old_selector, TS, request.ext, outgoing)) return false;
        if (!set_tss_busy(s, outgoing, false)) return false;
    } else if (!write_linear_value(s, incoming_base, old_selector, Privilege::Supervisor)) {
        return false;
    }
    return request.how == TaskEntry::Return || set_tss_busy(s, incoming, true);
}

// The segments of the new task, whose selectors are in the registers already. A fault here is the new task's own.
bool load_task_segments(State& s, u16 ldt, u32 ext) {
    SegmentGroup& segments = s.cpu.segments;
    if (!local_descriptor_table(s, ldt, TS, ext, segments.ldtr)) return false;
    if (s.virtual8086()) {
        for (Segment& segment : segments.seg) segment = virtual8086_segment(segment.selector);
        return true;
    }
    const u16 cs = segments.seg[CS].selector;
    const u32 cpl = rpl(cs);
    Descriptor code;
    if (is_null(cs)) return fault(s, TS, ext);
    if (!fetch_descriptor(s, cs, TS, ext, code)) return false;
    const bool privilege_fits = code.is_conforming_code() ? code.dpl() <= cpl : code.dpl() == cpl;
    if (!code.is_code() || !privilege_fits) return fault(s, TS, selector_error(cs, ext));
    if (!code.present()) return fault(s, NP, selector_error(cs, ext));
    if (!stack_segment(s, segments.seg[SS].selector, cpl, TS, ext, segments.seg[SS])) return false;
    if (!install_code_segment(s, cs, code, cpl)) return false;
    for (const SegmentName name : {ES, DS, FS, GS})
        if (!data_segment(s, segments.seg[name].selector, cpl, TS, ext, segments.seg[name])) return false;
    return true;
}

void pend_fault(State& s) {
    EventGroup& events = s.cpu.events;
    events.exception_pending = true;
    events.exception_vector = s.fault.vector;
    events.exception_has_error_code = s.fault.has_error_code;
    events.exception_error_code = s.fault.error_code;
}

// All registers of the new task except segments' hidden parts: from here on the new task is running.
void load_task_registers(State& s, const TaskSwitch& request, const TssLayout& from, const TssImage& image) {
    GeneralGroup& general = s.cpu.general;
    SegmentGroup& segments = s.cpu.segments;
    general.rip = image.get(from.instruction_pointer, from.width);
    general.rflags = (image.get(from.flags, from.width) & u64{0x3f7fd5}) | rflags::Fixed1;
    if (request.how == TaskEntry::Call || request.how == TaskEntry::Interrupt) general.rflags |= rflags::NT;
    for (u32 i = 0; i < 8; ++i) general.gpr[i] = image.get(from.registers + i * from.width, from.width);
    for (u32 i = 0; i < kSegmentCount; ++i) {
        const bool in_tss = i < from.segment_count;
        segments.seg[i] =
            null_segment(in_tss ? static_cast<u16>(image.get(from.segments + i * from.width, 2)) : u16{0});
    }
    segments.seg[SS] = null_segment(segments.seg[SS].selector, rpl(segments.seg[CS].selector));  // the new CPL
    segments.ldtr = null_segment(static_cast<u16>(image.get(from.ldt, 2)));
    s.cpu.control.cr0 |= cr0::TS;
    constexpr u64 kLocalBreakpoints = 0x155;  // L0-L3 and LE belong to one task (17.2.4)
    s.cpu.debug.dr7 &= ~kLocalBreakpoints;
}

}  // namespace

bool switch_task(State& s, const TaskSwitch& request) {
    Descriptor incoming;
    if (!find_task(s, request, incoming)) return false;
    const TssLayout& from = layout_of(incoming.type());
    const Segment tss = incoming.segment(request.selector);

    // Everything that can still fault for the old task comes first.
    TssImage image;
    if (!read_linear(s, tss.base, image.bytes.data(), from.minimum_limit + 1, Privilege::Supervisor)) return false;
    const bool loads_cr3 = from.width == 4 && (s.cpu.control.cr0 & cr0::PG) != 0;
    const u64 cr3 = loads_cr3 ? image.get(kTss32Cr3, 4) : s.cpu.control.cr3;
    std::array<u64, 4> pdptes = s.cpu.control.pdpte;
    if (loads_cr3 && uses_pae_paging(s.cpu.control.cr0, s.cpu.control.cr4, s.cpu.control.efer) &&
        !read_pdptes(s, cr3, pdptes))
        return fault(s, GP, request.ext);
    if (!save_task(s, request) || !link_tasks(s, request, incoming, tss.base)) return false;

    load_task_registers(s, request, from, image);
    s.cpu.segments.tr = tss;
    s.cpu.segments.tr.access |= kTssBusyBit;
    s.cpu.control.cr3 = cr3;
    s.cpu.control.pdpte = pdptes;
    if (loads_cr3) enter_address_space(s, false);
    privilege_changed(s);

    bool good = load_task_segments(s, static_cast<u16>(image.get(from.ldt, 2)), request.ext);
    privilege_changed(s);
    if (good) good = install_instruction_pointer(s, s.cpu.general.rip, request.ext);
    if (good && request.has_error_code) good = push(s, from.width, request.error_code);
    if (!good) {
        pend_fault(s);
    } else if (from.width == 4 && (image.get(kTss32Trap, 4) & 1) != 0) {
        constexpr u64 kTaskSwitchTrap = 1u << 15;  // DR6.BT
        s.cpu.debug.dr6 |= kTaskSwitchTrap;
        s.raise(DB);
        pend_fault(s);
    }
    return true;
}

}  // namespace dualvm::interp
