// Steps of ROL ROR SHL SHR SAR, SHLD SHRD, BT.
#pragma once

#include "handler.h"

namespace dualvm::interp::fast {

template <class Operation, class T, bool kFlags>
DUALVM_STEP shift_immediate(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    if constexpr (kFlags) {
        Operation::with_flags(a, static_cast<u8>(op->imm), flags);
    } else {
        Operation::without_flags(a, static_cast<u8>(op->imm));
    }
    set<T>(s, op->dst, a);
    return true;
}

template <class Operation, class T, Form kForm>
DUALVM_STEP shift_memory_immediate(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    T a = load<T>(m);
    Operation::with_flags(a, static_cast<u8>(op->imm), flags);
    store<T>(m, a);
    return true;
}

template <class Operation, class T, bool kFlags>
DUALVM_STEP shift_cl(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    const u8 count = get<u8>(s, 8 * RCX);
    if constexpr (kFlags) {
        Operation::with_flags(a, count, flags);
    } else {
        Operation::without_flags(a, count);
    }
    set<T>(s, op->dst, a);
    return true;
}

template <class Operation, class T>
DUALVM_STEP double_shift_immediate(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    Operation::with_flags(a, get<T>(s, op->src), static_cast<u8>(op->imm), flags);
    set<T>(s, op->dst, a);
    return true;
}

template <class Operation, class T>
DUALVM_STEP double_shift_cl(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    Operation::with_flags(a, get<T>(s, op->src), get<u8>(s, 8 * RCX), flags);
    set<T>(s, op->dst, a);
    return true;
}

// BT register, register or immediate: CF := the bit; the others as the host leaves them (ZF unchanged, SDM "BT").
template <class T>
inline void bit_test(T a, T index, u32& flags) {
    asm(DUALVM_RESTORE_FLAGS "bt %2, %1" DUALVM_KEEP_FLAGS : "+a"(flags) : "r"(a), "r"(index) : "cc");
}

template <class T>
DUALVM_STEP bt_register(DUALVM_STEP_ARGUMENTS) {
    bit_test<T>(get<T>(s, op->dst), get<T>(s, op->src), flags);
    return true;
}

template <class T>
DUALVM_STEP bt_immediate(DUALVM_STEP_ARGUMENTS) {
    bit_test<T>(get<T>(s, op->dst), static_cast<T>(op->imm), flags);
    return true;
}

}  // namespace dualvm::interp::fast
