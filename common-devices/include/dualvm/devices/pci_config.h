// Ports CF8h-CFFh: PCI configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2): an address at CF8h, and
// a window to what it points to at CFCh. Where there is no function every read says "nobody", so that a scan of the bus
// ends. CF9h, for byte accesses, is the reset control register of Intel's south bridges (82371SB data sheet, "RC": bit
// 1 is the kind of reset, bit 2 does it as it goes to 1).
#pragma once

#include <functional>
#include <memory>

#include "dualvm/devices/pci.h"
#include "dualvm/machine.h"

namespace dualvm::devices {

class PciConfigurationPorts final : public Device {
public:
    // Keeps the bus. `after_reset` is called by reset(): what firmware would do to the bus, where there is none.
    PciConfigurationPorts(Machine& machine, std::unique_ptr<PciBus> bus, std::function<void()> after_reset)
        : machine_(machine), bus_(std::move(bus)), after_reset_(std::move(after_reset)) {}
    const char* name() const override { return "pci configuration"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    PciFunction* target() const;

    Machine& machine_;
    std::unique_ptr<PciBus> bus_;
    std::function<void()> after_reset_;
    u32 address_ = 0;
    u8 reset_control_ = 0;
};

}  // namespace dualvm::devices
