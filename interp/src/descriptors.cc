#include "descriptors.h"

namespace dualvm::interp {

u32 Descriptor::limit() const {
    const u32 raw = static_cast<u32>(low & 0xffff) | (static_cast<u32>(low >> 32) & 0xf0000);
    const bool in_pages = (low & u64{1} << 55) != 0;  // G
    return in_pages ? raw << 12 | 0xfff : raw;
}

Segment Descriptor::segment(u16 selector) const {
    const u32 rights = static_cast<u32>(low >> 40) & 0xff;
    const u32 attributes = (static_cast<u32>(low >> 52) & 0xf) << 12;
    const u32 accessed = is_system() ? 0 : 1;
    return {.base = ((low >> 16) & 0xffffff) | (low >> 56) << 24 | (high & 0xffffffff) << 32,
            .limit = limit(),
            .access = rights | attributes | accessed,
            .selector = selector};
}

namespace {

// The table that a selector points into. False: its LDT does not exist.
bool table_of(const State& s, u16 selector, u64& base, u32& limit) {
    if (!in_ldt(selector)) {
        base = s.cpu.segments.gdtr.base;
        limit = s.cpu.segments.gdtr.limit;
        return true;
    }
    const Segment& ldtr = s.cpu.segments.ldtr;
    base = ldtr.base;
    limit = ldtr.limit;
    return !ldtr.has(Segment::Unusable);
}

// Outside 64-bit mode linear addresses are 32 bits wide; tables of IA-32e mode may lie anywhere.
u64 table_address(const State& s, u64 base, u64 offset) {
    return s.long_mode_active() ? base + offset : (base + offset) & 0xffffffff;
}

}  // namespace

Lookup look_up_descriptor(State& s, u16 selector, Descriptor& into) {
    u64 base = 0;
    u32 limit = 0;
    const u32 offset = selector & 0xfff8u;
    if (!table_of(s, selector, base, limit) || offset + 7 > limit) return Lookup::OutsideTable;
    into = {.low = 0, .high = 0, .address = table_address(s, base, offset)};
    return read_linear_value(s, into.address, into.low, Privilege::Supervisor) ? Lookup::Found : Lookup::Fault;
}

bool fetch_descriptor(State& s, u16 selector, Vector vector, u32 ext, Descriptor& into) {
    switch (look_up_descriptor(s, selector, into)) {
        case Lookup::Found: return true;
        case Lookup::OutsideTable: return fault(s, vector, selector_error(selector, ext));
        case Lookup::Fault: return false;
    }
    return false;
}

bool fetch_upper_half(State& s, u16 selector, Vector vector, u32 ext, Descriptor& descriptor) {
    if (!s.long_mode_active()) return true;
    u64 base = 0;
    u32 limit = 0;
    const u32 offset = selector & 0xfff8u;
    if (!table_of(s, selector, base, limit) || offset + 15 > limit)
        return fault(s, vector, selector_error(selector, ext));
    if (!read_linear_value(s, table_address(s, base, offset + 8), descriptor.high, Privilege::Supervisor)) return false;
    // The place of a type in the upper half must hold 0, so that it is not taken for a descriptor of its own (5.8.3.1).
    if ((descriptor.high >> 40 & 0x1f) != 0) return fault(s, vector, selector_error(selector, ext));
    return true;
}

bool mark_accessed(State& s, const Descriptor& descriptor) {
    const u8 rights = static_cast<u8>(descriptor.low >> 40);
    if ((rights & 1) != 0) return true;
    return write_linear_value(s, descriptor.address + 5, static_cast<u8>(rights | 1), Privilege::Supervisor);
}

bool set_tss_busy(State& s, const Descriptor& descriptor, bool busy) {
    const u32 rights = static_cast<u32>(descriptor.low >> 40) & 0xff;
    const u32 changed = busy ? rights | kTssBusyBit : rights & ~kTssBusyBit;
    return write_linear_value(s, descriptor.address + 5, static_cast<u8>(changed), Privilege::Supervisor);
}

Segment null_segment(u16 selector, u32 dpl) {
    return {.base = 0, .limit = 0, .access = Segment::Unusable | dpl << Segment::DplShift, .selector = selector};
}

void load_real_segment(State& s, SegmentName name, u16 selector) {
    Segment& segment = s.cpu.segments.seg[name];
    // A register that protected mode left null comes back with what RESET gives it (SDM vol. 3A, table 9-1).
    if (segment.has(Segment::Unusable)) segment = {.limit = 0xffff, .access = Segment::P | Segment::S | 3};
    segment.base = u64{selector} << 4;
    segment.selector = selector;
}

Segment virtual8086_segment(u16 selector) {
    return {.base = u64{selector} << 4,
            .limit = 0xffff,
            .access = Segment::P | Segment::S | Segment::DplMask | 3,
            .selector = selector};
}

bool data_segment(State& s, u16 selector, u32 cpl, Vector vector, u32 ext, Segment& into) {
    if (is_null(selector)) {
        into = null_segment(selector);
        return true;
    }
    Descriptor d;
    if (!fetch_descriptor(s, selector, vector, ext, d)) return false;
    if (!d.is_readable()) return fault(s, vector, selector_error(selector, ext));
    // Data and non-conforming code: both RPL and CPL must be as privileged as the segment (SDM vol. 3A, 5.6).
    if (!d.is_conforming_code() && (rpl(selector) > d.dpl() || cpl > d.dpl()))
        return fault(s, vector, selector_error(selector, ext));
    if (!d.present()) return fault(s, NP, selector_error(selector, ext));
    if (!mark_accessed(s, d)) return false;
    into = d.segment(selector);
    return true;
}

bool stack_segment(State& s, u16 selector, u32 cpl, Vector vector, u32 ext, Segment& into) {
    if (is_null(selector)) return fault(s, vector, ext);
    Descriptor d;
    if (!fetch_descriptor(s, selector, vector, ext, d)) return false;
    // SDM vol. 3A, 5.7: CPL, RPL and DPL must be equal.
    if (rpl(selector) != cpl || !d.is_writable() || d.dpl() != cpl)
        return fault(s, vector, selector_error(selector, ext));
    if (!d.present()) return fault(s, SS_, selector_error(selector, ext));
    if (!mark_accessed(s, d)) return false;
    into = d.segment(selector);
    return true;
}

bool load_segment(State& s, SegmentName name, u16 selector) {
    Segment& segment = s.cpu.segments.seg[name];
    if (!s.protected_mode()) {
        load_real_segment(s, name, selector);
        return true;
    }
    if (s.virtual8086()) {
        segment = virtual8086_segment(selector);
        return true;
    }
    const u32 cpl = s.cpu.cpl();
    if (name != SS) return data_segment(s, selector, cpl, GP, 0, segment);
    // In 64-bit mode SS may be null below CPL 3, with RPL = CPL (SDM vol. 2B, "MOV").
    if (is_null(selector) && s.code64() && cpl != 3 && rpl(selector) == cpl) {
        segment = null_segment(selector, cpl);
        return true;
    }
    return stack_segment(s, selector, cpl, GP, 0, segment);
}

bool local_descriptor_table(State& s, u16 selector, Vector vector, u32 ext, Segment& into) {
    if (is_null(selector)) {
        into = null_segment(selector);
        return true;
    }
    if (in_ldt(selector)) return fault(s, vector, selector_error(selector, ext));
    Descriptor d;
    if (!fetch_descriptor(s, selector, vector, ext, d)) return false;
    if (!d.is_system() || d.type() != kLdt) return fault(s, vector, selector_error(selector, ext));
    if (!fetch_upper_half(s, selector, vector, ext, d)) return false;
    // LLDT says #NP where a task switch says #TS (SDM vol. 2A, "LLDT"; vol. 3A, table 7-1).
    if (!d.present()) return fault(s, vector == TS ? TS : NP, selector_error(selector, ext));
    into = d.segment(selector);
    if (!is_canonical(into.base)) return fault(s, vector, selector_error(selector, ext));
    return true;
}

}  // namespace dualvm::interp
