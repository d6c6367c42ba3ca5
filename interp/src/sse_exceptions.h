// The flags of MXCSR that one operation on the host's unit raises, as a guest that has not masked them all sees them.
#pragma once

#include "fx_image.h"

namespace dualvm::interp {

inline constexpr u32 kMxcsrFlags = 0x3f, kFlushToZero = 0x8000;
inline constexpr u32 kBeforeComputing = 0x07, kUnderflow = 0x10;  // invalid, denormal, divide by zero

// The exceptions that are not masked in `mxcsr`.
constexpr u32 unmasked_exceptions(u32 mxcsr) { return ~(mxcsr >> 7) & kMxcsrFlags; }

// `raised` is what the operation raised with all exceptions masked. `again(mxcsr)` executes it once more, with this
// MXCSR, and gives the same.
template <class Again>
u32 raised_exceptions(u32 raised, u32 guest, Again again) {
    const u32 unmasked = unmasked_exceptions(guest);
    // Then nothing was computed (SDM vol. 1, 11.5.3.3).
    if ((raised & unmasked & kBeforeComputing) != 0) return raised & kBeforeComputing;
    // Masked, an exact result that is tiny is no underflow; unmasked, it is (SDM vol. 1, 4.9.1.5). Flushing to zero
    // makes the host tell.
    if ((unmasked & kUnderflow) != 0) raised |= again(guest | kFlushToZero) & kUnderflow;
    return raised;
}

}  // namespace dualvm::interp
