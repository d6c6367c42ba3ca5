// Steps of ROL ROR RCL RCR SHL SHR SAR, SHLD SHRD.
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

template <class Operation, class T, Form kForm>
DUALVM_STEP shift_memory_cl(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    T a = load<T>(m);
    Operation::with_flags(a, get<u8>(s, 8 * RCX), flags);
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

}  // namespace dualvm::interp::fast
