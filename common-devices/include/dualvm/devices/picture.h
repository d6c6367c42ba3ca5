// Pixels, as a monitor would show them.
#pragma once

#include <vector>

#include "dualvm/types.h"

namespace dualvm::devices {

struct Picture {
    unsigned width = 0, height = 0;
    std::vector<u8> rgb;  // lines from the top, pixels from the left, three bytes each
    bool operator==(const Picture&) const = default;
};

}  // namespace dualvm::devices
