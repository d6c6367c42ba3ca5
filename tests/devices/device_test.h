// What the tests of single devices share: a wire that remembers its edges, and a clock to turn by hand.
#pragma once

#include <gtest/gtest.h>

#include "dualvm/clock.h"
#include "dualvm/irq_line.h"
#include "dualvm/vio.h"

namespace dualvm::devices {

class Wire {
public:
    IrqLine line() {
        return IrqLine([this](bool level) {
            level_ = level;
            if (level) ++rises_;
        });
    }
    bool level() const { return level_; }
    // Rising edges since it was last asked.
    int take_rises() { return std::exchange(rises_, 0); }

private:
    bool level_ = false;
    int rises_ = 0;
};

// Moves time on, firing each timer when it is due, as the run loop does.
inline void pass(VirtualClock& clock, Nanoseconds time) {
    const Nanoseconds end = clock.now() + time;
    for (Nanoseconds next = clock.next_deadline(); next <= end; next = clock.next_deadline()) {
        clock.skip_to(next);
        clock.fire_due();
    }
    clock.skip_to(end);
}

inline std::vector<u8> saved(const Device& device) {
    ArchiveWriter out;
    device.save(out);
    return out.bytes();
}

// True if the whole archive was read and found good.
inline bool load(Device& device, const std::vector<u8>& bytes) {
    ArchiveReader in(bytes.data(), bytes.size());
    device.load(in);
    return in.ok() && in.at_end();
}

}  // namespace dualvm::devices
