// The "DISPI" registers of Bochs and QEMU's graphics adapters, by which their VGA BIOS sets VBE modes (qemu:
// docs/specs/standard-vga.txt; Bochs: "VBE Display API"): an index at port 1CEh, 16 bits of data at 1CFh.
#pragma once

#include <array>

#include "dualvm/archive.h"

namespace dualvm::devices {

class Dispi {
public:
    static constexpr unsigned kLargestWidth = 16000, kLargestHeight = 12000, kRegisters = 10;
    enum Index : u16 {
        kId = 0,
        kWidth = 1,
        kHeight = 2,
        kBits = 3,
        kEnable = 4,
        kBank = 5,
        kVirtualWidth = 6,
        kVirtualHeight = 7,  // as many lines as there is memory for
        kX = 8,
        kY = 9,
        kMemory = 10  // in units of 64 KiB
    };
    enum Enable : u16 { kOn = 1, kCapabilities = 2, kEightBitDac = 0x20, kLinear = 0x40, kKeepMemory = 0x80 };

    // `memory_size`: a power of two, at least 64 KiB.
    explicit Dispi(u64 memory_size) : memory_size_(memory_size) { reset(); }
    void reset();

    u16 index() const { return index_; }
    void select(u16 index) { index_ = index; }
    u16 read(u16 index) const;
    // What the adapter has to do about a write.
    struct Effect {
        bool mode_changed = false;  // a mode is shown, which is new or has changed
        bool clear = false;         // the memory of the screen is to be zero
        bool other = false;         // bank or DAC width have changed, or no mode is shown any more
    };
    Effect write(u16 index, u16 value);

    bool on() const { return (registers_[kEnable] & kOn) != 0; }
    bool eight_bit_dac() const { return (registers_[kEnable] & kEightBitDac) != 0; }
    // What is added to addresses in the 64 KiB window.
    u32 bank_offset() const { return bank_offset_; }

    unsigned width() const { return registers_[kWidth]; }
    unsigned height() const { return registers_[kHeight]; }
    unsigned bits() const { return registers_[kBits]; }
    // Bytes from a line to the next, over all planes.
    u32 pitch() const { return line_bytes(registers_[kVirtualWidth]); }
    // Where the screen begins, in bytes.
    u64 start() const { return line_bytes(registers_[kX]) + u64{registers_[kY]} * pitch(); }

    void save(ArchiveWriter& out) const;
    void load(ArchiveReader& in);

private:
    u32 line_bytes(u32 pixels) const { return pixels * (bits() == 15 ? 16 : bits()) / 8; }
    void correct();

    u64 memory_size_;
    u16 index_ = 0;
    std::array<u16, kRegisters> registers_{};
    u32 bank_offset_ = 0;
};

}  // namespace dualvm::devices
