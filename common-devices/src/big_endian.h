// Numbers as SCSI has them: most significant byte first.
#pragma once

#include <cstddef>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::devices {

inline u64 big_endian(const u8* from, unsigned bytes) {
    u64 value = 0;
    for (unsigned i = 0; i < bytes; ++i) value = value << 8 | from[i];
    return value;
}

inline void put_big_endian(std::vector<u8>& to, std::size_t at, unsigned bytes, u64 value) {
    for (unsigned i = 0; i < bytes; ++i) to[at + i] = static_cast<u8>(value >> (8 * (bytes - 1 - i)));
}

}  // namespace dualvm::devices
