// The VGA's memory as the CPU reaches it through A0000h-BFFFFh (IBM VGA technical reference, "Memory": write and read
// modes, latches; "Sequencer": map mask, chain-4).
//
// Four planes of bytes lie in one piece of memory, byte N of plane P at 4 * N + P. So a chain-4 access, of which bits 0
// and 1 say the plane, goes to the byte of its own number, and a linear frame buffer shows 256-colour pixels one after
// the other. With odd/even addressing, bit 0 says the plane and the rest counts on in it, without the gaps that the
// original has there; that is how QEMU's adapter keeps it.
#pragma once

#include <span>

#include "dualvm/devices/vga_registers.h"

namespace dualvm::devices {

class VgaMemory {
public:
    static constexpr u64 kWindowSize = 0x20000;

    // `bytes`: a power of two, at least 256 KiB.
    VgaMemory(const VgaRegisters& registers, std::span<u8> bytes) : registers_(registers), bytes_(bytes) {
        configure(0, false);
    }

    // To be called when registers have changed. `bank`: what is added to an address in the 64 KiB window; `whole`: all
    // of the memory can be reached, not only VGA's 256 KiB.
    void configure(u32 bank, bool whole);

    // Offsets are from A0000h.
    u64 read(u64 offset, unsigned size);
    void write(u64 offset, unsigned size, u64 value);

    std::span<const u8> bytes() const { return bytes_; }
    std::span<u8> bytes() { return bytes_; }

    u32 latches() const { return latches_; }
    void set_latches(u32 latches) { latches_ = latches; }

private:
    enum class Addressing : u8 { Planar, OddEven, Chain4 };
    u8 read_byte(u64 offset);
    void write_byte(u64 offset, u8 value);
    bool is_text_access(u64 offset, unsigned size) const;
    u8* dword(u64 address) const { return &bytes_[address * 4 & mask_ & ~u64{3}]; }
    u32 planar_value(u8 value) const;

    const VgaRegisters& registers_;
    std::span<u8> bytes_;
    u32 latches_ = 0;
    // Worked out by configure().
    Addressing addressing_ = Addressing::Planar;
    u64 base_ = 0, size_ = 0, bank_ = 0;  // of the part of the window where the memory answers
    u64 mask_ = 0;
    bool text_ = false;  // odd/even with planes 0 and 1 open, as text modes have it
};

}  // namespace dualvm::devices
