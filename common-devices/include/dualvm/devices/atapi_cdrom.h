// An ATAPI CD-ROM drive: the PACKET interface of ATA/ATAPI-6, and the commands of MMC-3 (T10/1363-D) that its packets
// carry. The disc is a raw image in blocks of 2048 bytes, one data track.
#pragma once

#include <array>
#include <optional>

#include "dualvm/devices/ide_drive.h"

namespace dualvm::devices {

class AtapiCdrom final : public IdeDrive {
public:
    static constexpr u64 kBlockSize = 2048;

    // `disc`: nullptr for an empty drive.
    AtapiCdrom(Disk* disc, unsigned number);

    void execute(u8 command) override;
    void reset_drive(bool power_on) override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    static constexpr std::size_t kPacketSize = 12;
    static constexpr u64 kBlocksAtOnce = kLargestBuffer / kBlockSize;

    // Sense key, additional sense code and its qualifier (SPC-3, 4.5).
    struct Sense {
        u8 key = 0, code = 0, qualifier = 0;
    };
    struct Run {  // blocks that are still to be read from the disc
        u64 block = 0, left = 0;
    };
    using Packet = std::array<u8, kPacketSize>;
    enum class Phase : u8 { Idle, Packet, Data };

    void window_done() override;
    void identify();
    void set_features();
    void take_packet();
    void run_packet(const Packet& packet);
    // How a packet command ends: with data (at most `allocation` bytes of it), without, or with a reason why not.
    void reply(std::vector<u8> data, u64 allocation);
    void complete();
    void refuse(const Sense& sense);
    void send();
    bool next_blocks();
    bool disc_ready();
    u64 blocks() const { return disc_ != nullptr ? disc_->size_in_sectors() * kSectorSize / kBlockSize : 0; }
    bool has_disc() const { return disc_ != nullptr && !tray_open_; }

    void request_sense(const Packet& packet);
    void inquiry(const Packet& packet);
    void mode_sense(u8 page, u64 allocation, bool long_header);
    void start_stop(const Packet& packet);
    void read_capacity();
    void read(u64 block, u64 count);
    void read_cd(const Packet& packet);
    void read_toc(const Packet& packet);
    void get_configuration(const Packet& packet);
    void get_event_status(const Packet& packet);
    void read_disc_information(const Packet& packet);
    void read_track_information(const Packet& packet);
    void mechanism_status(const Packet& packet);
    u16 profile() const;

    Disk* disc_;
    unsigned number_;
    Phase phase_ = Phase::Idle;
    bool by_dma_ = false;
    std::size_t sent_ = 0;     // of buffer_, by requests before the present one
    u16 byte_limit_ = 0xfffe;  // of each request by PIO; even
    Run run_;
    Sense sense_, attention_;  // what REQUEST SENSE tells; what the next command is refused with
    bool tray_open_ = false, locked_ = false, disc_event_ = false;
    u8 transfer_mode_ = 0;
};

}  // namespace dualvm::devices
