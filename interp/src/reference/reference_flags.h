// The arithmetic flags by the manual's formulas (SDM vol. 1, 3.4.3.1). Portable: the reference that the host's own
// flags (flags.h) are tested against.
#pragma once

#include <bit>

#include "../state.h"

namespace dualvm::interp {

// SF, ZF and PF follow from the result alone. PF looks at its low byte.
inline u64 result_flags(u64 result, unsigned size) {
    const u64 r = result & size_mask(size);
    u64 f = 0;
    if (r == 0) f |= rflags::ZF;
    if ((r >> (8 * size - 1)) & 1) f |= rflags::SF;
    if ((std::popcount(r & 0xff) & 1) == 0) f |= rflags::PF;
    return f;
}

inline void set_flags(State& s, u64 which, u64 value) {
    s.cpu.general.rflags = (s.cpu.general.rflags & ~which) | (value & which);
}
inline bool flag(const State& s, u64 bit) { return (s.cpu.general.rflags & bit) != 0; }
inline u64 sign_bit(unsigned size) { return u64{1} << (8 * size - 1); }

// a + b + carry. Carries out of each bit position: where both are set, or one is and the sum's bit is not.
struct Sum {
    u64 result, flags;
};
inline Sum add_with_flags(u64 a, u64 b, unsigned carry, unsigned size) {
    const u64 r = (a + b + carry) & size_mask(size);
    const u64 carries = (a & b) | ((a | b) & ~r);
    u64 f = result_flags(r, size);
    if (carries & sign_bit(size)) f |= rflags::CF;
    if (carries & 8) f |= rflags::AF;
    if ((a ^ r) & (b ^ r) & sign_bit(size)) f |= rflags::OF;  // same signs in, another sign out
    return {r, f};
}
// a - b - borrow.
inline Sum subtract_with_flags(u64 a, u64 b, unsigned borrow, unsigned size) {
    const u64 r = (a - b - borrow) & size_mask(size);
    const u64 borrows = (~a & b) | ((~a | b) & r);
    u64 f = result_flags(r, size);
    if (borrows & sign_bit(size)) f |= rflags::CF;
    if (borrows & 8) f |= rflags::AF;
    if ((a ^ b) & (a ^ r) & sign_bit(size)) f |= rflags::OF;
    return {r, f};
}
// AND, OR, XOR, TEST: CF and OF cleared; AF is undefined and cleared by every CPU we know.
inline u64 logic_flags(u64 result, unsigned size) { return result_flags(result, size); }

}  // namespace dualvm::interp
