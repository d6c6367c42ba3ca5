// Steps of BT BTS BTR BTC, BSF BSR, POPCNT, CRC32.
#pragma once

#include <bit>

#include "handler.h"

namespace dualvm::interp::fast {

// What BT, BTS, BTR and BTC leave of a word in which `bit` is set.
struct BitKept {
    static constexpr bool kWrites = false;
    static u64 change(u64 word, u64) { return word; }
};
struct BitSet {
    static constexpr bool kWrites = true;
    static u64 change(u64 word, u64 bit) { return word | bit; }
};
struct BitReset {
    static constexpr bool kWrites = true;
    static u64 change(u64 word, u64 bit) { return word & ~bit; }
};
struct BitComplemented {
    static constexpr bool kWrites = true;
    static u64 change(u64 word, u64 bit) { return word ^ bit; }
};

// CF := the bit; the other flags stay (of which only ZF is defined, SDM vol. 2A, "BT").
template <class Change, class T>
inline T bit_operation(T word, u64 index, u32& flags) {
    const u64 bit = u64{1} << (index & (8 * sizeof(T) - 1));
    flags = (flags & ~kCarryFlag) | ((word & bit) != 0 ? kCarryFlag : 0);
    return static_cast<T>(Change::change(word, bit));
}

// kImmediate: the index is op->imm, not a register.
template <class Change, class T, bool kImmediate>
DUALVM_STEP bit_of_register(DUALVM_STEP_ARGUMENTS) {
    const T word = bit_operation<Change, T>(get<T>(s, op->dst), kImmediate ? op->imm : get<u64>(s, op->src), flags);
    if constexpr (Change::kWrites) set<T>(s, op->dst, word);
    return true;
}

// With a register as index the word may be any other: that is the reference's business.
template <class Change, class T, Form kForm>
DUALVM_STEP bit_of_memory(DUALVM_STEP_ARGUMENTS) {
    const u64 linear = address<kForm>(s, op);
    u8* m = Change::kWrites ? host_to_write<sizeof(T)>(s, linear) : host_to_read<sizeof(T)>(s, linear);
    if (m == nullptr) return false;
    const T word = bit_operation<Change, T>(load<T>(m), op->imm, flags);
    if constexpr (Change::kWrites) store<T>(m, word);
    return true;
}

// BSF, BSR: ZF := the source is 0, and then the destination stays; the other flags are undefined and stay.
template <bool kHighest>
struct Scan {
    template <class T>
    static void run(State* s, const Op* op, T source, u32& flags) {
        flags = (flags & ~kZeroFlag) | (source == 0 ? kZeroFlag : 0);
        if (source == 0) return;
        set<T>(s, op->dst, static_cast<T>(kHighest ? std::bit_width(source) - 1 : std::countr_zero(source)));
    }
};
// POPCNT: ZF := the source is 0, the other flags are cleared.
struct CountBits {
    template <class T>
    static void run(State* s, const Op* op, T source, u32& flags) {
        flags = source == 0 ? kZeroFlag : 0;
        set<T>(s, op->dst, static_cast<T>(std::popcount(source)));
    }
};

// CRC32 of a byte, word, doubleword or quadword; the upper half of a 64-bit destination is cleared.
template <class T>
inline u64 checksum(u64 sum, T data) {
    auto low = static_cast<u32>(sum);
    if constexpr (sizeof(T) == 1) asm("crc32b %1, %0" : "+r"(low) : "q"(data));
    if constexpr (sizeof(T) == 2) asm("crc32w %1, %0" : "+r"(low) : "r"(data));
    if constexpr (sizeof(T) == 4) asm("crc32l %1, %0" : "+r"(low) : "r"(data));
    if constexpr (sizeof(T) == 8) {
        u64 wide = low;
        asm("crc32q %1, %0" : "+r"(wide) : "r"(data));
        return wide;
    }
    return low;
}
template <class T>
DUALVM_STEP crc32_register(DUALVM_STEP_ARGUMENTS) {
    set<u64>(s, op->dst, checksum<T>(get<u64>(s, op->dst), get<T>(s, op->src)));
    return true;
}
template <class T, Form kForm>
DUALVM_STEP crc32_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    set<u64>(s, op->dst, checksum<T>(get<u64>(s, op->dst), load<T>(m)));
    return true;
}

template <class Operation, class T>
DUALVM_STEP bits_of_register(DUALVM_STEP_ARGUMENTS) {
    Operation::template run<T>(s, op, get<T>(s, op->src), flags);
    return true;
}
template <class Operation, class T, Form kForm>
DUALVM_STEP bits_of_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    Operation::template run<T>(s, op, load<T>(m), flags);
    return true;
}

}  // namespace dualvm::interp::fast
