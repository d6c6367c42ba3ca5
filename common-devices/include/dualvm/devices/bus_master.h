// A bus master for one IDE channel (Programming Interface for Bus Master IDE Controller, revision 1.0): moves what a
// drive has or wants from and to memory, by a table of physical regions that the guest has written there.
#pragma once

#include "dualvm/devices/bus_memory.h"
#include "dualvm/devices/ide_drive.h"

namespace dualvm::devices {

class BusMaster {
public:
    static constexpr unsigned kRegisters = 8;

    explicit BusMaster(BusMemory memory) : memory_(memory) {}

    u8 read(unsigned reg) const;
    void write(unsigned reg, u8 value);
    // Moves as much as drive and table allow. To be called when a drive may have begun to want it, or the guest may
    // have started it.
    void run(IdeDrive* drive);
    void drive_interrupted();

    void reset();
    void save(ArchiveWriter& out) const;
    void load(ArchiveReader& in);

private:
    bool next_region();
    bool move(IdeDrive& drive, std::size_t bytes);

    BusMemory memory_;
    u8 command_ = 0, status_ = 0;
    u32 table_ = 0;
    // The table as far as it has been read: where the next entry is, and what is left of the present region.
    u32 next_entry_ = 0, address_ = 0, left_ = 0;
    bool last_ = false;
};

}  // namespace dualvm::devices
