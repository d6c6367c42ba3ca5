// Port I/O and the interrupt flag: what EFLAGS.IOPL decides (SDM vol. 1, ch. 19).
#include "../descriptors.h"
#include "../virtual_interrupts.h"
#include "reference.h"
#include "system_forms.h"

namespace dualvm::interp {

namespace {

// The port of IN or OUT: an immediate byte or DX.
u16 port_of(const State& s, const Operand& operand) {
    return static_cast<u16>(operand.kind == OperandKind::Immediate ? operand.imm & 0xff : read_gpr(s, RDX, 2));
}

Flow in(State& s, const Insn& insn) {
    const Operand& to = insn.operand[0];
    const u16 port = port_of(s, insn.operand[1]);
    if (!io_permitted(s, port, to.size)) return Flow::Fault;
    write_gpr(s, RAX, to.size, port_read(s, port, to.size));
    return Flow::Next;
}

Flow out(State& s, const Insn& insn) {
    const Operand& from = insn.operand[1];
    const u16 port = port_of(s, insn.operand[0]);
    if (!io_permitted(s, port, from.size)) return Flow::Fault;
    port_write(s, port, from.size, read_gpr(s, RAX, from.size));
    return Flow::Next;
}

// May the program change IF? In virtual-8086 mode IOPL must be 3, since CPL is (SDM vol. 2A, "CLI").
bool interrupt_flag_accessible(State& s) { return s.cpu.cpl() <= io_privilege_level(s) || fault(s, GP, 0); }

Flow cli(State& s, const Insn&) {
    if (has_virtual_interrupt_flag(s)) {
        s.cpu.general.rflags &= ~rflags::VIF;
        return Flow::Next;
    }
    if (!interrupt_flag_accessible(s)) return Flow::Fault;
    s.cpu.general.rflags &= ~rflags::IF;
    return Flow::Next;
}

Flow sti(State& s, const Insn&) {
    if (has_virtual_interrupt_flag(s)) {
        // An interrupt waits: the monitor is to deliver it.
        if ((s.cpu.general.rflags & rflags::VIP) != 0) return s.raise(GP, 0);
        s.cpu.general.rflags |= rflags::VIF;
        return Flow::Next;
    }
    if (!interrupt_flag_accessible(s)) return Flow::Fault;
    if ((s.cpu.general.rflags & rflags::IF) != 0) return Flow::Next;
    s.cpu.general.rflags |= rflags::IF;
    // One more instruction runs before the first interrupt (SDM vol. 2B, "STI").
    s.cpu.events.interrupt_shadow_sti = true;
    return Flow::Jump;
}

}  // namespace

bool io_permitted(State& s, u16 port, unsigned size) {
    if (!s.protected_mode()) return true;
    if (!s.virtual8086() && s.cpu.cpl() <= io_privilege_level(s)) return true;
    // The bitmap of the TSS: one bit a port, 0 permits; two bytes are always read, so the map ends with a byte of ones
    // (19.5.2). A 16-bit TSS has none.
    constexpr u32 kMapBaseOffset = 0x66;
    const Segment& tr = s.cpu.segments.tr;
    auto linear = [&](u32 offset) { return s.long_mode_active() ? tr.base + offset : (tr.base + offset) & 0xffffffff; };
    const bool tss16 = (tr.type() & 8) == 0;
    if (tr.has(Segment::Unusable) || tss16 || tr.limit < kMapBaseOffset + 1) return fault(s, GP, 0);
    u16 map_base = 0, bits = 0;
    if (!read_linear_value(s, linear(kMapBaseOffset), map_base, Privilege::Supervisor)) return false;
    const u32 offset = map_base + port / 8u;
    if (offset + 1 > tr.limit) return fault(s, GP, 0);
    if (!read_linear_value(s, linear(offset), bits, Privilege::Supervisor)) return false;
    const u32 wanted = ((1u << size) - 1) << (port % 8);
    return (bits & wanted) == 0 || fault(s, GP, 0);
}

void add_io_instructions(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_IN, in);
    table.add(ZYDIS_MNEMONIC_OUT, out);
    table.add(ZYDIS_MNEMONIC_CLI, cli);
    table.add(ZYDIS_MNEMONIC_STI, sti);
}

}  // namespace dualvm::interp
