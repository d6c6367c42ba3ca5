// Moments in an archive are stored relative to the clock at the save: a machine that is loaded elsewhere, whose clock
// reads something else, goes on where it was.
#pragma once

#include "dualvm/archive.h"
#include "dualvm/clock.h"

namespace dualvm::devices {

// No interval that a device waits for or has waited is longer (two years); a hostile archive may claim one.
inline constexpr Nanoseconds kLongestSaved = Nanoseconds{1} << 56;

inline void put_deadline(ArchiveWriter& out, const Clock& clock, Nanoseconds deadline) {
    const Nanoseconds now = clock.now();
    out.put(deadline == kNever ? kNever : deadline > now ? deadline - now : 0);
}

inline Nanoseconds get_deadline(ArchiveReader& in, const Clock& clock) {
    const auto left = in.get<Nanoseconds>();
    if (left == kNever) return kNever;
    if (left > kLongestSaved) {
        in.set_bad();
        return kNever;
    }
    return clock.now() + left;
}

}  // namespace dualvm::devices
