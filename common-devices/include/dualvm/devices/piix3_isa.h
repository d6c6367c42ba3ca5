// The ISA bridge of the PIIX3 (Intel 82371SB data sheet): what PCI finds as the way to the ISA bus, and the router that
// leads PCI's four interrupt wires to inputs of the 8259As.
#pragma once

#include <array>

#include "dualvm/devices/pci.h"
#include "dualvm/irq_line.h"

namespace dualvm::devices {

class Piix3Isa final : public Device, public PciFunction {
public:
    // "PIRQRC[A:D], PIRQx route control": a register for each wire; bit 7 set means not routed, bits 3-0 name the
    // input.
    static constexpr u8 kPirqRoute = 0x60;
    using IsaInterrupts = std::array<IrqLine, 16>;

    // Listens to `bus`; drives those of `interrupts` that the guest chooses.
    Piix3Isa(PciBus& bus, IsaInterrupts interrupts);

    const char* name() const override { return "piix3 isa"; }
    u64 read(u64, unsigned) override { return ~u64{0}; }  // it lives in configuration space alone
    void write(u64, unsigned, u64) override {}
    void reset() override { reset_config(); }
    void save(ArchiveWriter& out) const override { save_config(out); }
    void load(ArchiveReader& in) override { load_config(in); }

private:
    void config_changed(unsigned at, unsigned size) override;
    void route();

    PciBus& bus_;
    IsaInterrupts interrupts_;
};

}  // namespace dualvm::devices
