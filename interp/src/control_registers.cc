#include "control_registers.h"

#include "descriptors.h"

namespace dualvm::interp {

namespace {

u64 physical_address_mask(const State& s) { return (u64{1} << s.machine->cpu_model().physical_address_bits()) - 1; }

// After a change that paging or privilege depends on.
Flow mode_changed(State& s) {
    flush_tlb(s);
    privilege_changed(s);
    return Flow::Jump;
}

// Reloads the PDPTE registers where the new values select PAE paging and `reload` says so.
bool reload_pdptes(State& s, bool reload, u64 new_cr0, u64 new_cr4, u64 new_efer) {
    if (!reload || !uses_pae_paging(new_cr0, new_cr4, new_efer)) return true;
    std::array<u64, 4> pdptes{};
    if (!read_pdptes(s, s.cpu.control.cr3, pdptes)) return fault(s, GP, 0);
    s.cpu.control.pdpte = pdptes;
    return true;
}

}  // namespace

bool read_pdptes(const State& s, u64 cr3, std::array<u64, 4>& pdptes) {
    // Bits 2:1, 8:5 and those above the physical address width are reserved in a present entry.
    const u64 reserved = 0x6 | 0x1e0 | ~physical_address_mask(s);
    const VMem& memory = s.machine->vmem();
    for (unsigned i = 0; i < pdptes.size(); ++i) {
        const u64 address = ((cr3 & 0xffffffe0) + 8 * i) & memory.a20_mask();
        if (!memory.read_value(address, pdptes[i])) pdptes[i] = ~u64{0};  // no memory answers: the bus floats
        if ((pdptes[i] & 1) != 0 && (pdptes[i] & reserved) != 0) return false;
    }
    return true;
}

// SDM vol. 3A, 2.5; vol. 2B, "MOV - Move to/from Control Registers".
Flow write_cr0(State& s, u64 value) {
    constexpr u64 kWritable =
        cr0::PE | cr0::MP | cr0::EM | cr0::TS | cr0::NE | cr0::WP | cr0::AM | cr0::NW | cr0::CD | cr0::PG;
    ControlGroup& control = s.cpu.control;
    if (value >> 32 != 0) return s.raise(GP, 0);
    value = (value & kWritable) | cr0::ET;  // other bits of the low half ignore what is written
    if ((value & cr0::PG) != 0 && (value & cr0::PE) == 0) return s.raise(GP, 0);
    if ((value & cr0::NW) != 0 && (value & cr0::CD) == 0) return s.raise(GP, 0);

    const u64 changed = control.cr0 ^ value;
    const bool paging_on = (changed & value & cr0::PG) != 0;
    const bool paging_off = (changed & cr0::PG) != 0 && !paging_on;
    u64 efer = control.efer;
    if (paging_on && (efer & efer::LME) != 0) {
        // Turning paging on activates IA-32e mode (9.8.5).
        if ((control.cr4 & cr4::PAE) == 0) return s.raise(GP, 0);
        const bool tss16 = !s.cpu.segments.tr.has(8);  // bit 3 of the type: a 32-bit TSS
        if (s.cpu.segments.seg[CS].has(Segment::L) || tss16) return s.raise(GP, 0);
        efer |= efer::LMA;
    }
    if (paging_off) {
        if (s.code64()) return s.raise(GP, 0);
        if ((control.cr4 & cr4::PCIDE) != 0) return s.raise(GP, 0);
        efer &= ~efer::LMA;
    }
    if (!reload_pdptes(s, (changed & (cr0::PG | cr0::CD | cr0::NW)) != 0, value, control.cr4, efer)) return Flow::Fault;
    control.cr0 = value;
    control.efer = efer;
    if ((changed & (cr0::PG | cr0::PE | cr0::WP)) != 0) return mode_changed(s);
    return Flow::Jump;
}

Flow write_cr3(State& s, u64 value) {
    ControlGroup& control = s.cpu.control;
    bool keep = false;
    if (s.long_mode_active()) {
        // With PCIDs, bit 63 asks that translations be kept (4.10.4.1).
        keep = (control.cr4 & cr4::PCIDE) != 0 && value >> 63 != 0;
        if (keep) value &= ~(u64{1} << 63);
        if ((value & ~physical_address_mask(s)) != 0) return s.raise(GP, 0);
    } else {
        value &= 0xffffffff;
    }
    if (uses_pae_paging(control.cr0, control.cr4, control.efer)) {
        std::array<u64, 4> pdptes{};
        if (!read_pdptes(s, value, pdptes)) return s.raise(GP, 0);
        control.pdpte = pdptes;
    }
    control.cr3 = value;
    enter_address_space(s, keep);
    return Flow::Jump;
}

Flow write_cr4(State& s, u64 value) {
    ControlGroup& control = s.cpu.control;
    if ((value & ~s.machine->cpu_model().cr4_valid_bits()) != 0) return s.raise(GP, 0);
    const u64 changed = control.cr4 ^ value;
    if (s.long_mode_active() && (value & cr4::PAE) == 0) return s.raise(GP, 0);
    if ((changed & value & cr4::PCIDE) != 0 && (!s.long_mode_active() || (control.cr3 & 0xfff) != 0))
        return s.raise(GP, 0);
    if (!reload_pdptes(s, (changed & (cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP)) != 0, control.cr0, value,
                       control.efer))
        return Flow::Fault;
    control.cr4 = value;
    if ((changed & (cr4::PAE | cr4::PGE | cr4::PSE | cr4::PCIDE | cr4::SMEP | cr4::SMAP)) != 0) return mode_changed(s);
    return Flow::Jump;
}

Flow write_cr8(State& s, u64 value) {
    if (value > 0xf) return s.raise(GP, 0);
    s.cpu.control.cr8 = value;
    s.machine->cr8_changed(value);
    return Flow::Jump;
}

bool write_efer(State& s, u64 value) {
    ControlGroup& control = s.cpu.control;
    if ((value & ~s.machine->cpu_model().efer_valid_bits()) != 0) return fault(s, GP, 0);
    const u64 changed = control.efer ^ value;
    if ((changed & efer::LME) != 0 && (control.cr0 & cr0::PG) != 0) return fault(s, GP, 0);
    // LMA is the CPU's own answer; what is written there is ignored.
    control.efer = (value & ~efer::LMA) | (control.efer & efer::LMA);
    if ((changed & efer::NXE) != 0) flush_tlb(s);
    return true;
}

}  // namespace dualvm::interp
