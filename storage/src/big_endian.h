// Both qcow formats are big-endian throughout.
#pragma once

#include <bit>
#include <cstring>

#include "dualvm/types.h"

namespace dualvm::storage {

static_assert(std::endian::native == std::endian::little);

inline u16 load_be16(const u8* from) {
    u16 value;
    std::memcpy(&value, from, sizeof value);
    return __builtin_bswap16(value);
}
inline u32 load_be32(const u8* from) {
    u32 value;
    std::memcpy(&value, from, sizeof value);
    return __builtin_bswap32(value);
}
inline u64 load_be64(const u8* from) {
    u64 value;
    std::memcpy(&value, from, sizeof value);
    return __builtin_bswap64(value);
}
inline void store_be16(u8* to, u16 value) {
    value = __builtin_bswap16(value);
    std::memcpy(to, &value, sizeof value);
}
inline void store_be32(u8* to, u32 value) {
    value = __builtin_bswap32(value);
    std::memcpy(to, &value, sizeof value);
}
inline void store_be64(u8* to, u64 value) {
    value = __builtin_bswap64(value);
    std::memcpy(to, &value, sizeof value);
}

constexpr u64 round_up(u64 value, u64 multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr u64 divide_up(u64 value, u64 by) { return value / by + (value % by != 0 ? 1 : 0); }

}  // namespace dualvm::storage
