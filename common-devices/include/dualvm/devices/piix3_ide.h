// The IDE controller of the PIIX3 (Intel 82371SB data sheet, function 1): two channels at the places that every PC has
// them, and bus-master registers in BAR 4.
#pragma once

#include <array>

#include "dualvm/devices/bus_master.h"
#include "dualvm/devices/ide_channel.h"
#include "dualvm/devices/pci.h"

namespace dualvm::devices {

class Piix3Ide final : public Device, public PciFunction {
public:
    static constexpr unsigned kChannels = 2;
    // Offsets: each channel's command block and its control register, then the bus masters'.
    static constexpr u64 kCommandBlock = 0, kControl = 8, kChannelStride = 16, kBusMasters = 32;
    // Where a PC has the command blocks and control registers, and which interrupts the channels use.
    static constexpr std::array<u16, kChannels> kCommandPorts = {0x1f0, 0x170}, kControlPorts = {0x3f6, 0x376};
    static constexpr std::array<unsigned, kChannels> kInterrupts = {14, 15};

    // `enabled`: the channels answer after a reset, as firmware leaves them; else the guest has to switch them on.
    Piix3Ide(BusMemory memory, std::array<IrqLine, kChannels> interrupts, bool enabled);

    // Channel 0 or 1, device 0 or 1.
    void attach(unsigned channel, unsigned number, std::unique_ptr<IdeDrive> drive);

    const char* name() const override { return "piix3 ide"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    struct Part {
        IdeChannel channel;
        BusMaster master;
    };
    bool decodes(unsigned channel) const;
    void config_changed(unsigned at, unsigned size) override;
    void settle(Part& part);

    std::array<Part, kChannels> parts_;
};

}  // namespace dualvm::devices
