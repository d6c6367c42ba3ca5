// One IDE cable: the registers of up to two drives at the same places, and one interrupt wire (ATA/ATAPI-6, 7
// and 9.16).
#pragma once

#include <array>
#include <memory>

#include "dualvm/devices/ide_drive.h"
#include "dualvm/irq_line.h"

namespace dualvm::devices {

class IdeChannel {
public:
    explicit IdeChannel(IrqLine interrupt) : line_(std::move(interrupt)) {}

    // Device 0 or 1 of the cable.
    void attach(unsigned number, std::unique_ptr<IdeDrive> drive) { drives_[number] = std::move(drive); }
    // The drive that answers, nullptr if the guest has selected one that is not there.
    IdeDrive* selected() const { return drives_[selected_].get(); }

    // The command block, 8 registers.
    u64 read(unsigned reg, unsigned size);
    void write(unsigned reg, unsigned size, u64 value);
    // The control register, which reads as status without acknowledging the interrupt.
    u8 alternate_status() const;
    void write_control(u8 value);

    // The interrupt wire has risen since this was asked last.
    bool take_interrupt() { return std::exchange(interrupt_seen_, false); }
    void update_interrupt();

    void reset();
    void save(ArchiveWriter& out) const;
    void load(ArchiveReader& in);

private:
    bool interrupt_level() const;
    bool empty() const { return drives_[0] == nullptr && drives_[1] == nullptr; }
    u8 read_byte(unsigned reg);
    void write_byte(unsigned reg, u8 value);
    u64 read_data_register(unsigned size);
    void write_data_register(unsigned size, u64 value);

    std::array<std::unique_ptr<IdeDrive>, 2> drives_;
    IrqLine line_;
    unsigned selected_ = 0;
    u8 control_ = 0;
    bool requested_ = false, interrupt_seen_ = false;
};

}  // namespace dualvm::devices
