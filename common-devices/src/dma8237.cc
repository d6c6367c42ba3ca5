#include "dualvm/devices/dma8237.h"

#include "byte_ports.h"

namespace dualvm::devices {

namespace {

enum : unsigned {
    kStatusCommand = 8,
    kRequest,
    kSingleMask,
    kMode,
    kClearFlipFlop,
    kMasterClear,
    kClearMasks,
    kAllMasks
};
enum : u8 { kDisabled = 4 };                                       // command
enum : u8 { kAutoInitialize = 0x10, kDown = 0x20, kCascade = 3 };  // mode
u8 direction_of(u8 mode) { return mode >> 2 & 3; }

// Which channel a page register at 80h + n belongs to (PC/AT technical reference, "DMA page registers"); -1: none.
constexpr std::array<int, 16> kPageOf = {-1, 2, 3, 1, -1, -1, -1, 0, -1, 6, 7, 5, -1, -1, -1, 4};

}  // namespace

void Dma8237Pair::reset() {
    channels_ = {};
    chips_ = {};
    other_pages_ = {};
}

// `move(address, at)` moves the unit (a byte or a word) at `at` of the device's data.
template <class MoveUnit>
std::size_t Dma8237Pair::transfer(unsigned number, std::size_t bytes, Direction direction, MoveUnit move) {
    Channel& c = channels_[number];
    Chip& chip = chips_[number / 4];
    const bool words = number >= 4;
    const unsigned unit = words ? 2 : 1;
    std::size_t done = 0;
    c.ended = false;
    while (done + unit <= bytes) {
        const u8 set_to = direction_of(c.mode);
        if (c.masked || (chip.command & kDisabled) != 0 || (c.mode >> 6) == kCascade ||
            (set_to != Verify && set_to != direction)) {
            break;
        }
        // The address counts within 64 Ki units; the page stays.
        const u64 address = words ? u64{c.page & 0xfeu} << 16 | u64{c.address} << 1 : u64{c.page} << 16 | c.address;
        if (set_to != Verify) move(address, done);
        done += unit;
        c.address = static_cast<u16>((c.mode & kDown) != 0 ? c.address - 1 : c.address + 1);
        if (c.count-- != 0) continue;
        c.ended = true;
        chip.reached |= static_cast<u8>(1u << (number % 4));
        if ((c.mode & kAutoInitialize) != 0) {
            c.address = c.base_address;
            c.count = c.base_count;
        } else {
            c.masked = true;
        }
        break;
    }
    return done;
}

// Where nothing answers, bytes go nowhere.
std::size_t Dma8237Pair::to_memory(unsigned channel, std::span<const u8> bytes) {
    const unsigned unit = channel >= 4 ? 2 : 1;
    return transfer(channel, bytes.size(), ToMemory,
                    [&](u64 address, std::size_t at) { memory_.write(address, bytes.data() + at, unit); });
}

std::size_t Dma8237Pair::from_memory(unsigned channel, std::span<u8> bytes) {
    const unsigned unit = channel >= 4 ? 2 : 1;
    return transfer(channel, bytes.size(), FromMemory, [&](u64 address, std::size_t at) {
        if (!memory_.read(address, bytes.data() + at, unit)) {
            for (unsigned i = 0; i < unit; ++i) bytes[at + i] = 0xff;
        }
    });
}

u8 Dma8237Pair::read_chip(unsigned number, unsigned reg) {
    Chip& chip = chips_[number];
    if (reg < kStatusCommand) {
        const Channel& c = channels_[number * 4 + reg / 2];
        const u16 value = reg % 2 == 0 ? c.address : c.count;
        const bool high = std::exchange(chip.high_byte, !chip.high_byte);
        return static_cast<u8>(high ? value >> 8 : value);
    }
    if (reg == kStatusCommand) return std::exchange(chip.reached, u8{0});
    if (reg == kAllMasks) {
        u8 masks = 0xf0;
        for (unsigned i = 0; i < 4; ++i) masks |= static_cast<u8>(channels_[number * 4 + i].masked ? 1u << i : 0);
        return masks;
    }
    return 0;  // the temporary register, of memory-to-memory transfers
}

void Dma8237Pair::write_chip(unsigned number, unsigned reg, u8 value) {
    Chip& chip = chips_[number];
    Channel* const channels = &channels_[number * 4];
    if (reg < kStatusCommand) {
        Channel& c = channels[reg / 2];
        u16& base = reg % 2 == 0 ? c.base_address : c.base_count;
        u16& current = reg % 2 == 0 ? c.address : c.count;
        const bool high = std::exchange(chip.high_byte, !chip.high_byte);
        base = static_cast<u16>(high ? (base & 0xff) | value << 8 : (base & 0xff00) | value);
        current = base;
        return;
    }
    switch (reg) {
        case kStatusCommand: chip.command = value; break;
        case kRequest: chip.request = value; break;
        case kSingleMask: channels[value & 3].masked = (value & 4) != 0; break;
        case kMode: channels[value & 3].mode = value; break;
        case kClearFlipFlop: chip.high_byte = false; break;
        case kMasterClear:
            chip = {};
            for (unsigned i = 0; i < 4; ++i) channels[i].masked = true;
            break;
        case kClearMasks:
        case kAllMasks:
            for (unsigned i = 0; i < 4; ++i) channels[i].masked = reg == kAllMasks && (value >> i & 1) != 0;
            break;
        default: break;
    }
}

u64 Dma8237Pair::read(u64 offset, unsigned size) {
    return read_by_bytes(offset, size, [this](u64 at) -> u8 {
        if (at < kWords) return read_chip(0, static_cast<unsigned>(at));
        if (at < kPages) return read_chip(1, static_cast<unsigned>(at - kWords) / 2);
        const auto reg = static_cast<std::size_t>(at - kPages) & 0xf;
        return kPageOf[reg] >= 0 ? channels_[static_cast<std::size_t>(kPageOf[reg])].page : other_pages_[reg];
    });
}

void Dma8237Pair::write(u64 offset, unsigned size, u64 value) {
    write_by_bytes(offset, size, value, [this](u64 at, u8 byte) {
        if (at < kWords) return write_chip(0, static_cast<unsigned>(at), byte);
        if (at < kPages) return write_chip(1, static_cast<unsigned>(at - kWords) / 2, byte);
        const auto reg = static_cast<std::size_t>(at - kPages) & 0xf;
        (kPageOf[reg] >= 0 ? channels_[static_cast<std::size_t>(kPageOf[reg])].page : other_pages_[reg]) = byte;
    });
}

void Dma8237Pair::save(ArchiveWriter& out) const {
    out.tag("DMA ", 1);
    for (const Channel& c : channels_) {
        for (u16 v : {c.base_address, c.base_count, c.address, c.count}) out.put(v);
        for (u8 v : {c.mode, c.page, static_cast<u8>(c.masked), static_cast<u8>(c.ended)}) out.put(v);
    }
    for (const Chip& c : chips_) {
        for (u8 v : {c.command, c.request, c.reached, static_cast<u8>(c.high_byte)}) out.put(v);
    }
    out.put_bytes(other_pages_.data(), other_pages_.size());
}

void Dma8237Pair::load(ArchiveReader& in) {
    in.expect("DMA ", 1);
    for (Channel& c : channels_) {
        for (u16* v : {&c.base_address, &c.base_count, &c.address, &c.count}) in.get(*v);
        for (u8* v : {&c.mode, &c.page}) in.get(*v);
        for (bool* v : {&c.masked, &c.ended}) *v = in.get<u8>() != 0;
    }
    for (Chip& c : chips_) {
        for (u8* v : {&c.command, &c.request, &c.reached}) in.get(*v);
        c.high_byte = in.get<u8>() != 0;
    }
    in.get_bytes(other_pages_.data(), other_pages_.size());
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices
