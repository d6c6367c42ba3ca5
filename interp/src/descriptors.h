// Selectors, descriptors and the loading of segment registers (SDM vol. 3A, 3.4, 3.5, 5.2-5.8).
//
// Functions that return bool and can fail set State::fault and leave CpuFile alone.
#pragma once

#include "memory.h"

namespace dualvm::interp {

// --- selectors (SDM vol. 3A, 3.4.2)

constexpr bool is_null(u16 selector) { return (selector & ~3u) == 0; }
constexpr u32 rpl(u16 selector) { return selector & 3u; }
constexpr bool in_ldt(u16 selector) { return (selector & 4u) != 0; }
constexpr u16 with_rpl(u16 selector, u32 level) { return static_cast<u16>((selector & ~3u) | level); }

// An error code that names a selector: index and TI as in the selector, then IDT (bit 1) and EXT (bit 0, set when the
// event behind it came from outside the program). SDM vol. 3A, 6.13.
constexpr u32 kErrorIdt = 2, kErrorExt = 1;
constexpr u32 selector_error(u16 selector, u32 ext = 0) { return (selector & 0xfffcu) | ext; }

// Sets a fault; for `return fault(s, GP, 0);` in functions that return bool.
inline bool fault(State& s, Vector vector, u32 error_code) {
    s.raise(vector, error_code);
    return false;
}

// A linear address is canonical when bits 63-47 are all equal (SDM vol. 1, 3.3.7.1).
constexpr bool is_canonical(u64 address) { return static_cast<u64>(static_cast<i64>(address << 16) >> 16) == address; }

// --- descriptors (SDM vol. 3A, 3.4.5, 3.5, figures 3-8, 5-8, 6-2, 6-8)

// Types of system descriptors (SDM vol. 3A, table 3-2). In IA-32e mode the types "32" are the 64-bit ones, and the
// others do not exist, apart from the LDT.
enum SystemType : u32 {
    kTss16Available = 1,
    kLdt = 2,
    kTss16Busy = 3,
    kCallGate16 = 4,
    kTaskGate = 5,
    kInterruptGate16 = 6,
    kTrapGate16 = 7,
    kTss32Available = 9,
    kTss32Busy = 11,
    kCallGate32 = 12,
    kInterruptGate32 = 14,
    kTrapGate32 = 15,
};
constexpr u32 kTssBusyBit = 2;  // of the type
constexpr bool is_available_tss(u32 type) { return type == kTss16Available || type == kTss32Available; }
constexpr bool is_busy_tss(u32 type) { return type == kTss16Busy || type == kTss32Busy; }

struct Descriptor {
    u64 low = 0;
    u64 high = 0;     // bytes 8-15 of a system descriptor in IA-32e mode
    u64 address = 0;  // linear, of `low`

    u32 type() const { return static_cast<u32>(low >> 40) & 0xf; }
    bool is_system() const { return (low & u64{1} << 44) == 0; }
    u32 dpl() const { return static_cast<u32>(low >> 45) & 3; }
    bool present() const { return (low & u64{1} << 47) != 0; }

    // Code and data segments.
    bool is_code() const { return !is_system() && (type() & 8) != 0; }
    bool is_conforming_code() const { return is_code() && (type() & 4) != 0; }
    bool is_readable() const { return !is_system() && (!is_code() || (type() & 2) != 0); }
    bool is_writable() const { return !is_system() && !is_code() && (type() & 2) != 0; }
    bool is_64bit() const { return (low & u64{1} << 53) != 0; }          // L
    bool is_default_large() const { return (low & u64{1} << 54) != 0; }  // D/B

    // Gates.
    u16 gate_selector() const { return static_cast<u16>(low >> 16); }
    u64 gate_offset() const { return (low & 0xffff) | (low >> 48) << 16 | (high & 0xffffffff) << 32; }
    u32 gate_parameters() const { return static_cast<u32>(low >> 32) & 0x1f; }
    u32 gate_ist() const { return static_cast<u32>(low >> 32) & 7; }

    u32 limit() const;  // in bytes
    // What a segment register holds after it was loaded from this descriptor.
    Segment segment(u16 selector) const;
};

// Looks a selector's descriptor up in GDT or LDT. `Fault` is a page fault of the table.
enum class Lookup : u8 { Found, OutsideTable, Fault };
Lookup look_up_descriptor(State& s, u16 selector, Descriptor& into);
// The same; a selector outside its table is the fault `vector` with the selector as error code.
bool fetch_descriptor(State& s, u16 selector, Vector vector, u32 ext, Descriptor& into);
// In IA-32e mode, reads the upper half of the system descriptor that fetch_descriptor found; else does nothing.
bool fetch_upper_half(State& s, u16 selector, Vector vector, u32 ext, Descriptor& descriptor);

// Descriptor bits that the CPU itself writes.
bool mark_accessed(State& s, const Descriptor& descriptor);
bool set_tss_busy(State& s, const Descriptor& descriptor, bool busy);

// --- segment registers

// What a register holds after a null selector was loaded. SS keeps the CPL in its DPL field (CpuFile::cpl()).
Segment null_segment(u16 selector, u32 dpl = 0);
// Real mode: base and selector change, limit and rights stay. Virtual-8086 mode: everything is fixed (20.2).
void load_real_segment(State& s, SegmentName name, u16 selector);
Segment virtual8086_segment(u16 selector);

// Checks for DS, ES, FS, GS and for SS, at privilege `cpl`. Null selectors are good for the first, but not for SS; the
// caller knows where SS may be null. The faults other than "not present" are `vector`: #GP, or #TS in task switches
// and stack switches.
bool data_segment(State& s, u16 selector, u32 cpl, Vector vector, u32 ext, Segment& into);
bool stack_segment(State& s, u16 selector, u32 cpl, Vector vector, u32 ext, Segment& into);

// MOV, POP, LxS to a segment register other than CS, in the current mode.
bool load_segment(State& s, SegmentName name, u16 selector);

// LDTR from a selector: null makes it unusable (SDM vol. 2A, "LLDT").
bool local_descriptor_table(State& s, u16 selector, Vector vector, u32 ext, Segment& into);

}  // namespace dualvm::interp
