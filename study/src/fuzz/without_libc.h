// What the handlers of native child processes are made of: in them thread-local storage may be gone, so that no
// function of the C library can be called, and no sanitizer may look.
#pragma once

#include <cstddef>

#include "dualvm/types.h"

#define DUALVM_BARE __attribute__((no_sanitize("address", "undefined"), no_stack_protector, noinline))

namespace dualvm::study {

inline __attribute__((always_inline)) long system_call(long number, long a, long b, long c) {
    long result = 0;
    asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

inline __attribute__((always_inline)) void copy(void* to, const void* from, std::size_t bytes) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

inline __attribute__((always_inline)) void set_flags(u64 flags) {
    asm volatile("push %0\n\tpopf" : : "r"(flags) : "cc", "memory");
}

}  // namespace dualvm::study
