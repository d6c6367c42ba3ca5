// Steps of XCHG XADD CMPXCHG. There is one CPU: with LOCK they are no different.
#pragma once

#include "handler.h"

namespace dualvm::interp::fast {

template <class T>
DUALVM_STEP xchg_registers(DUALVM_STEP_ARGUMENTS) {
    const T a = get<T>(s, op->dst), b = get<T>(s, op->src);
    set<T>(s, op->dst, b);
    set<T>(s, op->src, a);
    return true;
}

template <class T, Form kForm>
DUALVM_STEP xchg_memory(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    const T old = load<T>(m);
    store<T>(m, get<T>(s, op->src));
    set<T>(s, op->src, old);
    return true;
}

// XADD: the sum to memory, what was there to the register. Flags as of ADD.
template <class T, Form kForm>
DUALVM_STEP xadd_memory(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    const T old = load<T>(m);
    T sum = old;
    Add::with_flags(sum, get<T>(s, op->src), flags);
    store<T>(m, sum);
    set<T>(s, op->src, old);
    return true;
}

// CMPXCHG: (R)AX as what was there, or memory as the register. Flags as of CMP (R)AX, memory.
template <class T, Form kForm>
DUALVM_STEP cmpxchg_memory(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    const T old = load<T>(m);
    T expected = get<T>(s, 8 * RAX);
    if (old == expected) {
        store<T>(m, get<T>(s, op->src));
    } else {
        set<T>(s, 8 * RAX, old);
    }
    Cmp::with_flags(expected, old, flags);
    return true;
}

}  // namespace dualvm::interp::fast
