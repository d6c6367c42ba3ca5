// An ATA hard disk (ATA/ATAPI-6): 28- and 48-bit sector numbers, and cylinders, heads and sectors as old programs use
// them.
#pragma once

#include "dualvm/devices/ide_drive.h"

namespace dualvm::devices {

class AtaDisk final : public IdeDrive {
public:
    // `number` tells disks of one machine apart in what IDENTIFY DEVICE says.
    AtaDisk(Disk& disk, unsigned number);

    void execute(u8 command) override;
    void reset_drive(bool power_on) override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    static constexpr unsigned kMostSectorsInBlock = 16;                       // READ MULTIPLE
    static constexpr unsigned kSectorsAtOnce = kLargestBuffer / kSectorSize;  // by DMA

    struct Geometry {
        u16 cylinders = 0;
        u8 heads = 16, sectors = 63;
    };
    struct Run {  // the sectors of a command that are still to be moved
        u64 sector = 0, left = 0;
    };

    void window_done() override;
    void identify();
    void set_features();
    void initialize_parameters();
    void set_multiple();
    void read_native_max(bool extended);
    void verify(bool extended);
    void flush();
    // Sectors that the registers ask for; false, the command having failed, where the disk has none.
    bool addressed(bool extended, Run& run);
    void show_address(u64 sector);
    void move(Transfer kind, bool extended, unsigned block);
    bool read_block();
    bool write_block();
    unsigned block_size() const;
    Geometry default_geometry() const;

    Disk& disk_;
    unsigned number_;
    Geometry geometry_;
    Run run_;
    unsigned block_ = 1;       // sectors for each request of the running command
    u8 multiple_ = 0;          // SET MULTIPLE MODE; 0: not set
    u8 transfer_mode_ = 0;     // SET FEATURES 03h
    bool write_cache_ = true;  // SET FEATURES 02h, 82h
    bool extended_ = false;    // the running command has 48-bit addresses
};

}  // namespace dualvm::devices
