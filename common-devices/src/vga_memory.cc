#include "dualvm/devices/vga_memory.h"

#include <array>
#include <bit>
#include <cstring>

#include "byte_ports.h"

namespace dualvm::devices {

namespace {

// Four bits, a plane each, as four bytes of ones or zeros.
constexpr std::array<u32, 16> kPlaneBytes = [] {
    std::array<u32, 16> bytes{};
    for (unsigned planes = 0; planes < 16; ++planes) {
        for (unsigned p = 0; p < 4; ++p) bytes[planes] |= (planes >> p & 1) != 0 ? 0xffu << (8 * p) : 0;
    }
    return bytes;
}();

constexpr u32 four_times(u8 byte) { return byte * 0x01010101u; }

u32 load(const u8* from) { return u32{from[0]} | u32{from[1]} << 8 | u32{from[2]} << 16 | u32{from[3]} << 24; }
void store(u8* to, u32 value) {
    for (unsigned i = 0; i < 4; ++i) to[i] = static_cast<u8>(value >> (8 * i));
}

}  // namespace

void VgaMemory::configure(u32 bank, bool whole) {
    const u8 misc = registers_.graphics(vga::kMiscellaneous);
    bank_ = 0;
    switch (misc >> 2 & 3) {  // memory map select
        case 0:
            base_ = 0;
            size_ = kWindowSize;
            break;
        case 1:
            base_ = 0;
            size_ = 0x10000;
            bank_ = bank;
            break;
        case 2:
            base_ = 0x10000;
            size_ = 0x8000;
            break;
        default:
            base_ = 0x18000;
            size_ = 0x8000;
            break;
    }
    if ((registers_.sequencer(vga::kMemoryMode) & 8) != 0) {
        addressing_ = Addressing::Chain4;
    } else if ((registers_.graphics(vga::kMode) & 0x10) != 0) {
        addressing_ = Addressing::OddEven;
    } else {
        addressing_ = Addressing::Planar;
    }
    mask_ = whole ? bytes_.size() - 1 : 0x3ffff;
    const bool both = (registers_.sequencer(vga::kMapMask) & 3) == 3 && (registers_.graphics(vga::kReadMap) & 2) == 0;
    text_ = addressing_ == Addressing::OddEven && both;
}

u8 VgaMemory::read_byte(u64 offset) {
    if (offset < base_ || offset - base_ >= size_) return 0xff;
    const u64 address = offset - base_ + bank_;
    if (addressing_ == Addressing::Chain4) return bytes_[address & mask_];
    if (addressing_ == Addressing::OddEven) {
        const u64 plane = (registers_.graphics(vga::kReadMap) & 2u) | (address & 1);
        return bytes_[((address >> 1) * 4 | plane) & mask_];
    }
    latches_ = load(dword(address));
    if ((registers_.graphics(vga::kMode) & 8) == 0) {
        return static_cast<u8>(latches_ >> (8 * (registers_.graphics(vga::kReadMap) & 3)));
    }
    // Read mode 1: a bit for each pixel, set where all planes that are cared for have the colour.
    const u32 differs = (latches_ ^ kPlaneBytes[registers_.graphics(vga::kColorCompare)]) &
                        kPlaneBytes[registers_.graphics(vga::kColorDontCare)];
    return static_cast<u8>(~(differs | differs >> 8 | differs >> 16 | differs >> 24));
}

// What a write of `value` makes of the latches, before the map mask.
u32 VgaMemory::planar_value(u8 value) const {
    const auto reg = [this](vga::Graphics index) { return registers_.graphics(index); };
    const u8 rotated = std::rotr(value, reg(vga::kDataRotate) & 7);
    u8 bits = reg(vga::kBitMask);
    u32 data = 0;
    switch (reg(vga::kMode) & 3) {
        case 0: {
            const u32 set = kPlaneBytes[reg(vga::kEnableSetReset)];
            data = (four_times(rotated) & ~set) | (kPlaneBytes[reg(vga::kSetReset)] & set);
            break;
        }
        case 1: return latches_;
        case 2: data = kPlaneBytes[value & 0xf]; break;
        default:
            data = kPlaneBytes[reg(vga::kSetReset)];
            bits &= rotated;
            break;
    }
    switch (reg(vga::kDataRotate) >> 3 & 3) {
        case 0: break;
        case 1: data &= latches_; break;
        case 2: data |= latches_; break;
        default: data ^= latches_; break;
    }
    const u32 mask = four_times(bits);
    return (data & mask) | (latches_ & ~mask);
}

void VgaMemory::write_byte(u64 offset, u8 value) {
    if (offset < base_ || offset - base_ >= size_) return;
    const u64 address = offset - base_ + bank_;
    const unsigned open = registers_.sequencer(vga::kMapMask);
    if (addressing_ == Addressing::Planar) {
        u8* to = dword(address);
        const u32 written = kPlaneBytes[open];
        store(to, (load(to) & ~written) | (planar_value(value) & written));
    } else if (addressing_ == Addressing::Chain4) {
        if ((open >> (address & 3) & 1) != 0) bytes_[address & mask_] = value;
    } else {
        const u64 plane = (registers_.graphics(vga::kReadMap) & 2u) | (address & 1);
        if ((open >> plane & 1) != 0) bytes_[((address >> 1) * 4 | plane) & mask_] = value;
    }
}

// Whole cells of text, character and attribute side by side: what text modes are driven by.
bool VgaMemory::is_text_access(u64 offset, unsigned size) const {
    return text_ && ((offset | size) & 1) == 0 && offset >= base_ && offset - base_ + size <= size_;
}

u64 VgaMemory::read(u64 offset, unsigned size) {
    if (!is_text_access(offset, size)) return read_by_bytes(offset, size, [this](u64 at) { return read_byte(at); });
    u64 value = 0;
    for (unsigned i = 0; i < size; i += 2) {
        const u8* cell = dword((offset - base_ + bank_ + i) / 2);
        value |= (u64{cell[0]} | u64{cell[1]} << 8) << (8 * i);
    }
    return value;
}

void VgaMemory::write(u64 offset, unsigned size, u64 value) {
    if (!is_text_access(offset, size)) {
        write_by_bytes(offset, size, value, [this](u64 at, u8 byte) { write_byte(at, byte); });
        return;
    }
    for (unsigned i = 0; i < size; i += 2) {
        u8* cell = dword((offset - base_ + bank_ + i) / 2);
        cell[0] = static_cast<u8>(value >> (8 * i));
        cell[1] = static_cast<u8>(value >> (8 * i + 8));
    }
}

}  // namespace dualvm::devices
