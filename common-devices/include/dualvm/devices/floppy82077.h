// The floppy disk controller Intel 82077AA (data sheet, 290166), with two drives. Commands and results go byte by byte
// through a FIFO; sectors by DMA channel 2, or through the FIFO as well.
//
// As with IDE, what a command does has happened when its last byte has been written.
#pragma once

#include <array>
#include <vector>

#include "dualvm/devices/dma8237.h"
#include "dualvm/disk.h"
#include "dualvm/irq_line.h"

namespace dualvm::devices {

// Tracks, heads and sectors of 512 bytes, by the size of the image: 160 KiB to 2.88 MB.
struct FloppyGeometry {
    u8 tracks = 80, heads = 2, sectors = 18;
    u8 cmos_type = 4;  // the drive as CMOS memory names it
};
FloppyGeometry floppy_geometry(u64 image_sectors);

class Floppy82077 final : public Device {
public:
    static constexpr unsigned kDrives = 2, kDmaChannel = 2;
    // Ports 3F0h-3F5h from offset 0 on, and 3F7h.
    static constexpr u64 kDigitalInput = 7;

    // Disks must outlive it; nullptr: no drive.
    Floppy82077(Dma8237Pair& dma, IrqLine interrupt, std::array<Disk*, kDrives> disks);

    const char* name() const override { return "floppy"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    enum class Phase : u8 { Command, ReadFifo, WriteFifo, Result };
    enum class Work : u8 { Read, Write, Format, Verify };
    struct Drive {
        u8 track = 0;
        bool changed = true;  // the disk change line: until the head is moved
    };
    struct Place {
        u8 cylinder = 0, head = 0, sector = 1;
    };

    u8 read_register(unsigned reg);
    void write_register(unsigned reg, u8 value);
    void write_digital_output(u8 value);
    void soft_reset();
    u8 main_status() const;
    u8 pop_fifo();
    void push_fifo(u8 value);
    void run_command();
    void results(std::initializer_list<u8> bytes);
    void raise_interrupt();
    void set_line();
    void taken();
    void poll_drives();
    bool seek_ended() const;
    void sense_interrupt();
    u8 drive_status() const;
    void seek(u8 track);
    void read_id();

    // Sectors: from where the command says to the end of the track, or of the transfer.
    void begin_transfer(Work work);
    void go_on();
    // Whether there is a sector at place_; if not, the command has ended.
    bool find_sector();
    bool load_sector();
    bool store_sector();
    bool advance();
    Place next_place() const;
    void end_transfer(u8 error0, u8 status1, u8 status2);
    u64 offset_of(const Place& at) const;

    Disk* disk() const { return unit_ < kDrives ? disks_[unit_] : nullptr; }
    Drive& drive() { return drives_[unit_]; }
    bool by_dma() const { return (specify_ & 1) == 0; }

    Dma8237Pair& dma_;
    IrqLine line_;
    std::array<Disk*, kDrives> disks_;
    static constexpr unsigned kUnits = 4;  // that a command can name
    std::array<FloppyGeometry, kUnits> geometry_{};
    std::array<Drive, kUnits> drives_{};
    Phase phase_ = Phase::Command;
    Work work_ = Work::Read;
    std::vector<u8> command_, fifo_;  // bytes of the command; results, or a sector
    std::size_t at_ = 0;              // in fifo_
    unsigned unit_ = 0;               // of the running command
    Place place_;
    u8 last_sector_ = 0, formatted_ = 0;
    bool both_heads_ = false;
    u8 digital_output_ = 0, data_rate_ = 2, specify_ = 0, step_rate_ = 0, tape_ = 0, perpendicular_ = 0;
    u8 configuration_ = 0, precompensation_ = 0;
    bool locked_ = false, interrupt_ = false;
    std::array<u8, kUnits> to_sense_{};  // by drive: ST0 that waits for SENSE INTERRUPT STATUS, or 0
};

}  // namespace dualvm::devices
