// Guest memory as instructions see it: segmentation, then paging, then RAM or MMIO.
//
// Every function that can fault returns false with State::fault set (and CR2, for a page fault) and without having
// changed anything else. Sources: SDM vol. 3A ch. 3 (segmentation), ch. 4 (paging), 5.3 (limit checks).
#pragma once

#include "address_space.h"
#include "state.h"

namespace dualvm::interp {

// Who is accessing. Descriptor tables, TSS and the like are read with supervisor rights whatever the CPL (SDM vol. 3A,
// 4.6.1, "implicit supervisor-mode access").
enum class Privilege : u8 { Current, Supervisor };

// --- segmentation
// -----------------------------------------------------------------------------------------------------

// Logical to linear, with the checks for an access of `size` bytes: null and unusable segments, type, limit, canonical
// form. #SS(0) for the stack segment, #GP(0) for others.
bool linear_address(State& s, SegmentName segment, u64 offset, unsigned size, Access access, u64& linear);

// The offset part of an instruction's memory operand, wrapped to the address size.
u64 effective_address(const State& s, const Insn& insn);

// --- linear addresses
// -------------------------------------------------------------------------------------------------

bool read_linear(State& s, u64 linear, void* into, unsigned size, Privilege who = Privilege::Current);
bool write_linear(State& s, u64 linear, const void* from, unsigned size, Privilege who = Privilege::Current);
// Would a write (or read) of `size` bytes fault? Sets the fault if so. For instructions of several steps: check all,
// then change.
bool check_linear(State& s, u64 linear, unsigned size, Access access, Privilege who = Privilege::Current);

// Where the host has the byte at `linear`, if the rest of its page is plain memory that may be accessed so without
// anything else happening; nullptr otherwise. Never faults.
u8* host_address(State& s, u64 linear, Access access);
// For writing, if all that keeps host_address() from it is that the page holds code: whoever writes there calls
// note_write_to_code() with `physical`.
u8* host_address_of_code(State& s, u64 linear, u64& physical);
void note_write_to_code(State& s, u64 physical, u64 size);

template <class T>
bool read_linear_value(State& s, u64 linear, T& into, Privilege who = Privilege::Current) {
    return read_linear(s, linear, &into, sizeof into, who);
}
template <class T>
bool write_linear_value(State& s, u64 linear, T value, Privilege who = Privilege::Current) {
    return write_linear(s, linear, &value, sizeof value, who);
}

// --- logical addresses
// ------------------------------------------------------------------------------------------------

bool read_memory(State& s, SegmentName segment, u64 offset, void* into, unsigned size);
bool write_memory(State& s, SegmentName segment, u64 offset, const void* from, unsigned size);
// Little-endian values of 1, 2, 4 or 8 bytes, zero-extended.
bool read_value(State& s, SegmentName segment, u64 offset, unsigned size, u64& value);
bool write_value(State& s, SegmentName segment, u64 offset, unsigned size, u64 value);

// --- operands
// -----------------------------------------------------------------------------------------------------------

// The value of an explicit operand (Gpr, Memory, Immediate), zero-extended from its size.
bool read_operand(State& s, const Insn& insn, unsigned index, u64& value);
bool write_operand(State& s, const Insn& insn, unsigned index, u64 value);
// For read-modify-write: as read_operand, but a memory operand that may not be written faults now, as a write. LOCK
// needs nothing more here: one CPU runs at a time.
bool read_operand_for_update(State& s, const Insn& insn, unsigned index, u64& value);

// --- the stack
// ----------------------------------------------------------------------------------------------------------

// Bytes of the stack pointer in use: 8 in 64-bit mode, else by SS.B.
inline unsigned stack_size(const State& s) {
    if (s.code64()) return 8;
    return s.cpu.segments.seg[SS].has(Segment::DB) ? 4 : 2;
}
inline void set_stack_pointer(State& s, u64 value) {
    // A 16- or 32-bit stack keeps the upper part of RSP (a 32-bit write outside 64-bit mode clears what nobody sees).
    const unsigned size = stack_size(s);
    write_gpr(s, RSP, size, value);
}
bool push(State& s, unsigned size, u64 value);
bool pop(State& s, unsigned size, u64& value);

// --- paging
// -------------------------------------------------------------------------------------------------------------

// Linear to guest-physical by the guest's tables, setting accessed and dirty bits as the CPU would. False: #PF is set.
bool translate(State& s, u64 linear, Access access, bool user, u64& physical);

// After a change of CPL: picks the TLB of the new privilege. To be called by whatever loads CS or SS.
void privilege_changed(State& s);

}  // namespace dualvm::interp
