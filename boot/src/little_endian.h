// Bounds-checked little-endian fields of image files and of the structures that loaders build.
#pragma once

#include <concepts>
#include <optional>
#include <span>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::boot {

// The field at `offset`; nothing if any byte of it lies outside.
template <std::unsigned_integral T>
std::optional<T> load(std::span<const u8> bytes, u64 offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
    u64 value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value |= u64{bytes[offset + i]} << (8 * i);
    return static_cast<T>(value);
}

// Writes a field of a structure of our own making.
template <std::unsigned_integral T>
void store(std::vector<u8>& bytes, u64 offset, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes.at(offset + i) = static_cast<u8>(u64{value} >> (8 * i));
}

// A string with the 0 byte that ends it, as guests want it.
inline std::vector<u8> zero_terminated(std::string_view text) {
    std::vector<u8> bytes(text.begin(), text.end());
    bytes.push_back(0);
    return bytes;
}

}  // namespace dualvm::boot
