// Ports CF8h-CFFh: PCI configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) without a device behind
// it yet: every read says "nobody", so that a scan of the bus ends. CF9h, for byte accesses, is the reset control
// register of Intel's south bridges (82371AB data sheet, "RC": bit 1 is the kind of reset, bit 2 does it as it goes to
// 1).
#pragma once

#include "dualvm/machine.h"

namespace dualvm::devices {

class PciConfigurationPorts final : public Device {
public:
    explicit PciConfigurationPorts(Machine& machine) : machine_(machine) {}
    const char* name() const override { return "pci configuration"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    Machine& machine_;
    u32 address_ = 0;
    u8 reset_control_ = 0;
};

}  // namespace dualvm::devices
