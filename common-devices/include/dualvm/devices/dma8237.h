// The PC/AT's pair of 8237A DMA controllers (Intel 8237A data sheet; PC/AT technical reference): channels 0-3 move
// bytes, 5-7 words; channel 4 joins the two, and is taken as set up for that. Page registers give the upper address
// bits.
//
// A device with a channel calls to_memory() or from_memory() when it would assert DREQ: what the channel allows moves
// at once. Memory-to-memory transfers, which the PC/AT has no use for, are left out as in later chipsets.
#pragma once

#include <array>
#include <span>

#include "dualvm/devices/bus_memory.h"

namespace dualvm::devices {

class Dma8237Pair final : public Device {
public:
    // Offsets: ports 00h-0Fh, C0h-DFh, and the page registers 81h-8Fh.
    static constexpr u64 kBytes = 0, kWords = 0x10, kPages = 0x30;

    explicit Dma8237Pair(BusMemory memory) : memory_(memory) {}

    // How many bytes have moved: all, or less if the channel's count is through (terminal count), it is masked, or set
    // to another direction.
    std::size_t to_memory(unsigned channel, std::span<const u8> bytes);
    std::size_t from_memory(unsigned channel, std::span<u8> bytes);
    // The last transfer of the channel has reached its terminal count.
    bool terminal_count(unsigned channel) const { return channels_[channel].ended; }

    const char* name() const override { return "dma8237"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    struct Channel {
        u16 base_address = 0, base_count = 0, address = 0, count = 0;
        u8 mode = 0, page = 0;
        bool masked = true, ended = false;
    };
    struct Chip {
        u8 command = 0, request = 0, reached = 0;  // reached: terminal counts since the status was read
        bool high_byte = false;                    // the next access to a 16-bit register is to its upper byte
    };
    enum Direction : u8 { Verify = 0, ToMemory = 1, FromMemory = 2 };

    template <class MoveUnit>
    std::size_t transfer(unsigned number, std::size_t bytes, Direction direction, MoveUnit move);
    u8 read_chip(unsigned chip, unsigned reg);
    void write_chip(unsigned chip, unsigned reg, u8 value);

    BusMemory memory_;
    std::array<Channel, 8> channels_{};
    std::array<Chip, 2> chips_{};
    std::array<u8, 16> other_pages_{};  // page registers that lead nowhere: guests keep values there
};

}  // namespace dualvm::devices
