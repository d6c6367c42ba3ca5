// Segment registers and what a program may ask about selectors.
#include "../descriptors.h"
#include "../privilege.h"
#include "reference.h"
#include "system_forms.h"

namespace dualvm::interp {

namespace {

// Loads a segment register as an instruction does, and says how to go on.
Flow load_and_continue(State& s, SegmentName name, u16 selector) {
    const Segment before = s.cpu.segments.seg[name];
    if (!load_segment(s, name, selector)) return Flow::Fault;
    if (name == SS) {
        // No interrupt between this and the next instruction, which is to load the stack pointer (SDM vol. 3A, 6.8.3).
        s.cpu.events.interrupt_shadow_mov_ss = true;
        privilege_changed(s);
        return Flow::Jump;
    }
    // Code may have been decoded for the segment as it was; 64-bit code does not look at these.
    Segment after = s.cpu.segments.seg[name];
    after.selector = before.selector;
    return s.code64() || after == before ? Flow::Next : Flow::Jump;
}

// LDS, LES, LFS, LGS, LSS: a far pointer from memory (SDM vol. 2A, "LDS").
template <SegmentName name>
Flow load_far_pointer(State& s, const Insn& insn) {
    const u64 address = effective_address(s, insn);
    u64 offset = 0, selector = 0;
    const unsigned size = insn.operand_size;
    if (!read_value(s, insn.segment, address, size, offset)) return Flow::Fault;
    const u64 second = (address + size) & size_mask(insn.address_size);
    if (!read_value(s, insn.segment, second, 2, selector)) return Flow::Fault;
    const Flow flow = load_and_continue(s, name, static_cast<u16>(selector));
    if (flow == Flow::Fault) return flow;
    if (name == SS) s.cpu.events.interrupt_shadow_mov_ss = false;  // LSS loads both at once
    write_gpr(s, insn.operand[0].reg, size, offset);
    return flow;
}

void set_zero_flag(State& s, bool on) {
    s.cpu.general.rflags = on ? s.cpu.general.rflags | rflags::ZF : s.cpu.general.rflags & ~rflags::ZF;
}

// Real and virtual-8086 mode do not know the instructions below.
bool has_descriptors(const State& s) { return s.protected_mode() && !s.virtual8086(); }

// Finds the descriptor that LAR, LSL, VERR or VERW asks for. `found` is false, without a fault, for selectors that are
// null or outside their table. False: a page fault.
bool find_for_query(State& s, const Insn& insn, unsigned operand, u16& selector, Descriptor& d, bool& found) {
    u64 value = 0;
    if (!read_operand(s, insn, operand, value)) return false;
    selector = static_cast<u16>(value);
    found = false;
    if (is_null(selector)) return true;
    const Lookup lookup = look_up_descriptor(s, selector, d);
    found = lookup == Lookup::Found;
    return lookup != Lookup::Fault;
}

// Could the current program, with this selector, get at the segment at all (SDM vol. 3A, 5.10.1)?
bool privilege_allows(const State& s, u16 selector, const Descriptor& d) {
    return d.is_conforming_code() || (d.dpl() >= s.cpu.cpl() && d.dpl() >= rpl(selector));
}

// Bit n is set where LAR and LSL answer for system type n (SDM vol. 2A, "LAR", "LSL").
constexpr u32 types(std::initializer_list<SystemType> list) {
    u32 set = 0;
    for (const SystemType t : list) set |= 1u << t;
    return set;
}
constexpr u32 kLslTypes = types({kTss16Available, kLdt, kTss16Busy, kTss32Available, kTss32Busy});
constexpr u32 kLslTypesLong = types({kLdt, kTss32Available, kTss32Busy});
constexpr u32 kLarTypes = kLslTypes | types({kCallGate16, kTaskGate, kCallGate32});
constexpr u32 kLarTypesLong = types({kTss32Available, kTss32Busy, kCallGate32});  // LSL's LDT is not among them

bool type_answers(const Descriptor& d, u32 system_types) {
    return !d.is_system() || (system_types >> d.type() & 1) != 0;
}

Flow lar(State& s, const Insn& insn) {
    if (!has_descriptors(s)) return s.raise(UD);
    u16 selector = 0;
    Descriptor d;
    bool found = false;
    if (!find_for_query(s, insn, 1, selector, d, found)) return Flow::Fault;
    const u32 answering = s.long_mode_active() ? kLarTypesLong : kLarTypes;
    const bool good = found && type_answers(d, answering) && privilege_allows(s, selector, d);
    if (good) write_gpr(s, insn.operand[0].reg, insn.operand_size, (d.low >> 32) & 0x00f0ff00);
    set_zero_flag(s, good);
    return Flow::Next;
}

Flow lsl(State& s, const Insn& insn) {
    if (!has_descriptors(s)) return s.raise(UD);
    u16 selector = 0;
    Descriptor d;
    bool found = false;
    if (!find_for_query(s, insn, 1, selector, d, found)) return Flow::Fault;
    const u32 answering = s.long_mode_active() ? kLslTypesLong : kLslTypes;
    const bool good = found && type_answers(d, answering) && privilege_allows(s, selector, d);
    if (good) write_gpr(s, insn.operand[0].reg, insn.operand_size, d.limit());
    set_zero_flag(s, good);
    return Flow::Next;
}

Flow verify(State& s, const Insn& insn, bool (Descriptor::*right)() const) {
    if (!has_descriptors(s)) return s.raise(UD);
    u16 selector = 0;
    Descriptor d;
    bool found = false;
    if (!find_for_query(s, insn, 0, selector, d, found)) return Flow::Fault;
    set_zero_flag(s, found && (d.*right)() && privilege_allows(s, selector, d));
    return Flow::Next;
}
Flow verr(State& s, const Insn& insn) { return verify(s, insn, &Descriptor::is_readable); }
Flow verw(State& s, const Insn& insn) { return verify(s, insn, &Descriptor::is_writable); }

// ARPL: raises the selector's RPL to that of its caller's (SDM vol. 3A, 5.10.4).
Flow arpl(State& s, const Insn& insn) {
    if (!has_descriptors(s)) return s.raise(UD);
    u64 destination = 0, source = 0;
    if (!read_operand(s, insn, 0, destination) || !read_operand(s, insn, 1, source)) return Flow::Fault;
    const bool lower = (destination & 3) < (source & 3);
    if (lower && !write_operand(s, insn, 0, (destination & ~u64{3}) | (source & 3))) return Flow::Fault;
    set_zero_flag(s, lower);
    return Flow::Next;
}

// RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE: 64-bit mode, where the operating system allows them.
bool bases_accessible(const State& s) { return s.code64() && (s.cpu.control.cr4 & cr4::FSGSBASE) != 0; }

template <SegmentName name>
Flow read_base(State& s, const Insn& insn) {
    if (!bases_accessible(s)) return s.raise(UD);
    write_gpr(s, insn.operand[0].reg, insn.operand_size, s.cpu.segments.seg[name].base);
    return Flow::Next;
}

template <SegmentName name>
Flow write_base(State& s, const Insn& insn) {
    if (!bases_accessible(s)) return s.raise(UD);
    const u64 base = read_gpr(s, insn.operand[0].reg, insn.operand_size);
    if (!is_canonical(base)) return s.raise(GP, 0);
    s.cpu.segments.seg[name].base = base;
    return Flow::Next;
}

}  // namespace

Flow mov_segment(State& s, const Insn& insn) {
    const Operand &to = insn.operand[0], &from = insn.operand[1];
    if (from.kind == OperandKind::Segment) {
        // A register gets the selector zero-extended to its size, memory gets 16 bits.
        return write_operand(s, insn, 0, s.cpu.segments.seg[from.reg].selector) ? Flow::Next : Flow::Fault;
    }
    if (to.reg == CS) return s.raise(UD);
    u64 selector = 0;
    if (!read_operand(s, insn, 1, selector)) return Flow::Fault;
    return load_and_continue(s, static_cast<SegmentName>(to.reg), static_cast<u16>(selector));
}

// With 32 bits, what is written are the selector's 16, and what lies above them stays as it is, as with all CPUs of
// this model's maker (SDM vol. 2B, "PUSH").
Flow push_segment(State& s, const Insn& insn) {
    const u16 selector = s.cpu.segments.seg[insn.operand[0].reg].selector;
    const u64 top = (s.cpu.general.gpr[RSP] - insn.operand_size) & size_mask(stack_size(s));
    const unsigned written = insn.operand_size == 4 ? 2 : insn.operand_size;
    if (!write_value(s, SS, top, written, selector)) return Flow::Fault;
    set_stack_pointer(s, top);
    return Flow::Next;
}

Flow pop_segment(State& s, const Insn& insn) {
    Transaction transaction(s);
    u64 selector = 0;
    if (!pop(s, insn.operand_size, selector)) return Flow::Fault;
    const Flow flow = load_and_continue(s, static_cast<SegmentName>(insn.operand[0].reg), static_cast<u16>(selector));
    if (flow != Flow::Fault) transaction.keep();
    return flow;
}

void add_segment_instructions(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_LDS, load_far_pointer<DS>);
    table.add(ZYDIS_MNEMONIC_LES, load_far_pointer<ES>);
    table.add(ZYDIS_MNEMONIC_LFS, load_far_pointer<FS>);
    table.add(ZYDIS_MNEMONIC_LGS, load_far_pointer<GS>);
    table.add(ZYDIS_MNEMONIC_LSS, load_far_pointer<SS>);
    table.add(ZYDIS_MNEMONIC_LAR, lar);
    table.add(ZYDIS_MNEMONIC_LSL, lsl);
    table.add(ZYDIS_MNEMONIC_VERR, verr);
    table.add(ZYDIS_MNEMONIC_VERW, verw);
    table.add(ZYDIS_MNEMONIC_ARPL, arpl);
    table.add(ZYDIS_MNEMONIC_RDFSBASE, read_base<FS>);
    table.add(ZYDIS_MNEMONIC_RDGSBASE, read_base<GS>);
    table.add(ZYDIS_MNEMONIC_WRFSBASE, write_base<FS>);
    table.add(ZYDIS_MNEMONIC_WRGSBASE, write_base<GS>);
}

}  // namespace dualvm::interp
