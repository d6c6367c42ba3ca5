// The 64-bit FXSAVE image (SDM vol. 1, table 10-2; vol. 2A, "FXSAVE", table 3-47): how the interpreter keeps x87, MMX
// and SSE state, ready for the host to load.
#pragma once

#include <array>

#include "dualvm/types.h"

namespace dualvm::interp {

struct alignas(16) FxImage {
    static constexpr u32 kMxcsrMask = 0xffff;  // with DAZ
    u16 fcw = 0x37f, fsw = 0;
    u8 ftw = 0, reserved1 = 0;
    u16 fop = 0;
    u64 fip = 0, fdp = 0;
    u32 mxcsr = 0x1f80, mxcsr_mask = kMxcsrMask;
    std::array<std::array<u8, 16>, 8> st{};  // ST(0) to ST(7), 10 bytes each
    std::array<std::array<u8, 16>, 16> xmm{};
    std::array<u8, 96> available{};

    static constexpr u32 kMxcsrMasks = 0x1f80;  // of the six exceptions (SDM vol. 1, figure 10-3)
    static constexpr u16 kX87Masks = 0x3f;
    // No x87 exception waits (SDM vol. 1, 8.1.3) or can come.
    bool masks_x87() const { return (fcw & kX87Masks) == kX87Masks && (fsw & 0x80) == 0; }
    // Exceptions of before, beside those that an instruction has raised; the summary follows from flags and masks.
    void keep_errors(u16 flags) {
        const bool waits = ((fsw | flags) & ~fcw & kX87Masks) != 0;
        fsw = static_cast<u16>(((fsw | flags) & ~0x8080) | (waits ? 0x8080 : 0));
    }
    bool masks_sse() const { return (mxcsr & kMxcsrMasks) == kMxcsrMasks; }
    // Else ModeKey has to follow: an instruction that has changed this ends its block (Flow::Jump).
    bool masks_as(const FxImage& other) const {
        return masks_x87() == other.masks_x87() && masks_sse() == other.masks_sse();
    }
};
static_assert(sizeof(FxImage) == 512);

}  // namespace dualvm::interp
