// Devices whose registers are one byte wide, as all on the ISA bus: the bus splits a wider access into bytes at
// ascending addresses.
#pragma once

#include "dualvm/types.h"

namespace dualvm::devices {

// `read_byte(offset)` for each byte of the access, lowest first.
template <class F>
u64 read_by_bytes(u64 offset, unsigned size, F&& read_byte) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{static_cast<u8>(read_byte(offset + i))} << (8 * i);
    return value;
}

// `write_byte(offset, byte)` for each byte of the access, lowest first.
template <class F>
void write_by_bytes(u64 offset, unsigned size, u64 value, F&& write_byte) {
    for (unsigned i = 0; i < size; ++i) write_byte(offset + i, static_cast<u8>(value >> (8 * i)));
}

}  // namespace dualvm::devices
