// From a VGA's registers and memory to what the monitor shows, in any mode (IBM VGA technical reference, "CRT
// controller", "Attribute controller", "Video modes"; for VBE modes see dispi.h).
//
// A renderer looks, and changes nothing. It never reads outside of `memory`, whatever registers say, and a picture has
// at most kLargestPicture pixels.
#pragma once

#include <span>

#include "dualvm/devices/dispi.h"
#include "dualvm/devices/picture.h"
#include "dualvm/devices/screen.h"
#include "dualvm/devices/vga_registers.h"

namespace dualvm::devices {

// Which half of its period is shown of what blinks.
struct BlinkPhase {
    bool cursor = true, text = true;
};

class VgaRenderer {
public:
    static constexpr u64 kLargestPicture = u64{1} << 25;  // 16 MiB at 4 bits a pixel

    // `memory` as in vga_memory.h.
    VgaRenderer(const VgaRegisters& registers, const Dispi& dispi, std::span<const u8> memory)
        : registers_(registers), dispi_(dispi), memory_(memory) {}

    // Text and cursor, or which graphics mode it is.
    Screen screen() const;
    // Empty if nothing is shown.
    Picture picture(BlinkPhase phase) const;

private:
    void draw_text(Picture& to, BlinkPhase phase) const;
    void draw_vga_graphics(Picture& to) const;
    void draw_planar_vbe(Picture& to) const;
    void draw_packed_vbe(Picture& to) const;
    u8 byte(u64 offset, unsigned plane) const;

    const VgaRegisters& registers_;
    const Dispi& dispi_;
    std::span<const u8> memory_;
};

}  // namespace dualvm::devices
