// Descriptor table registers and the task register.
#include "../descriptors.h"
#include "reference.h"

namespace dualvm::interp {

namespace {

bool privileged(State& s) { return s.cpu.cpl() == 0 || fault(s, GP, 0); }
// CR4.UMIP keeps user programs from seeing where the tables are (SDM vol. 3A, 2.5).
bool may_store(State& s) { return (s.cpu.control.cr4 & cr4::UMIP) == 0 || privileged(s); }

// Real and virtual-8086 mode have no LDT and no tasks.
bool has_descriptors(const State& s) { return s.protected_mode() && !s.virtual8086(); }

// Where the base lies behind the limit in the memory operand.
u64 base_address(const Insn& insn, u64 address) { return (address + 2) & size_mask(insn.address_size); }

// LGDT and LIDT: six bytes, or ten in 64-bit mode (SDM vol. 2A, "LGDT/LIDT").
bool read_table_register(State& s, const Insn& insn, DescriptorTable& table) {
    if (!privileged(s)) return false;
    const u64 address = effective_address(s, insn);
    u64 limit = 0, base = 0;
    if (!read_value(s, insn.segment, address, 2, limit)) return false;
    if (!read_value(s, insn.segment, base_address(insn, address), insn.long_mode ? 8 : 4, base)) return false;
    // With a 16-bit operand the base has 24 bits, as on the 80286.
    if (insn.operand_size == 2 && !insn.long_mode) base &= 0xffffff;
    if (!is_canonical(base)) return fault(s, GP, 0);
    table = {.base = base, .limit = static_cast<u16>(limit)};
    return true;
}

Flow lgdt(State& s, const Insn& insn) {
    return read_table_register(s, insn, s.cpu.segments.gdtr) ? Flow::Next : Flow::Fault;
}
Flow lidt(State& s, const Insn& insn) {
    return read_table_register(s, insn, s.cpu.segments.idtr) ? Flow::Next : Flow::Fault;
}

// SGDT and SIDT store the whole base whatever the operand size.
Flow store_table_register(State& s, const Insn& insn, const DescriptorTable& table) {
    if (!may_store(s)) return Flow::Fault;
    const u64 address = effective_address(s, insn);
    const unsigned base_size = insn.long_mode ? 8 : 4;
    std::array<u8, 10> image{};
    image[0] = static_cast<u8>(table.limit);
    image[1] = static_cast<u8>(table.limit >> 8);
    for (unsigned i = 0; i < base_size; ++i) image[2 + i] = static_cast<u8>(table.base >> (8 * i));
    return write_memory(s, insn.segment, address, image.data(), 2 + base_size) ? Flow::Next : Flow::Fault;
}
Flow sgdt(State& s, const Insn& insn) { return store_table_register(s, insn, s.cpu.segments.gdtr); }
Flow sidt(State& s, const Insn& insn) { return store_table_register(s, insn, s.cpu.segments.idtr); }

Flow lldt(State& s, const Insn& insn) {
    if (!has_descriptors(s)) return s.raise(UD);
    u64 selector = 0;
    if (!privileged(s) || !read_operand(s, insn, 0, selector)) return Flow::Fault;
    const bool loaded = local_descriptor_table(s, static_cast<u16>(selector), GP, 0, s.cpu.segments.ldtr);
    return loaded ? Flow::Next : Flow::Fault;
}

// LTR marks the TSS busy, and with it the register's copy of the descriptor.
Flow ltr(State& s, const Insn& insn) {
    if (!has_descriptors(s)) return s.raise(UD);
    u64 value = 0;
    if (!privileged(s) || !read_operand(s, insn, 0, value)) return Flow::Fault;
    const u16 selector = static_cast<u16>(value);
    if (is_null(selector)) return s.raise(GP, 0);
    if (in_ldt(selector)) return s.raise(GP, selector_error(selector));
    Descriptor d;
    if (!fetch_descriptor(s, selector, GP, 0, d)) return Flow::Fault;
    const bool right_type =
        d.is_system() && is_available_tss(d.type()) && !(s.long_mode_active() && d.type() == kTss16Available);
    if (!right_type) return s.raise(GP, selector_error(selector));
    if (!d.present()) return s.raise(NP, selector_error(selector));
    if (!fetch_upper_half(s, selector, GP, 0, d)) return Flow::Fault;
    Segment tr = d.segment(selector);
    if (!is_canonical(tr.base)) return s.raise(GP, selector_error(selector));
    if (!set_tss_busy(s, d, true)) return Flow::Fault;
    tr.access |= kTssBusyBit;
    s.cpu.segments.tr = tr;
    return Flow::Next;
}

Flow store_selector(State& s, const Insn& insn, u16 selector) {
    if (!has_descriptors(s)) return s.raise(UD);
    return may_store(s) && write_operand(s, insn, 0, selector) ? Flow::Next : Flow::Fault;
}
Flow sldt(State& s, const Insn& insn) { return store_selector(s, insn, s.cpu.segments.ldtr.selector); }
Flow str(State& s, const Insn& insn) { return store_selector(s, insn, s.cpu.segments.tr.selector); }

}  // namespace

void add_table_instructions(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_LGDT, lgdt);
    table.add(ZYDIS_MNEMONIC_LIDT, lidt);
    table.add(ZYDIS_MNEMONIC_SGDT, sgdt);
    table.add(ZYDIS_MNEMONIC_SIDT, sidt);
    table.add(ZYDIS_MNEMONIC_LLDT, lldt);
    table.add(ZYDIS_MNEMONIC_LTR, ltr);
    table.add(ZYDIS_MNEMONIC_SLDT, sldt);
    table.add(ZYDIS_MNEMONIC_STR, str);
}

}  // namespace dualvm::interp
