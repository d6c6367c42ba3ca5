// The steps of the SSE moves: whole registers, their parts, to and from memory and general registers.
#pragma once

#include "sse.h"

namespace dualvm::interp::fast {

// --- whole registers
// --------------------------------------------------------------------------------------------------

DUALVM_STEP move_register(DUALVM_STEP_ARGUMENTS) {
    set_vector(s, op->dst, get_vector(s, op->src));
    return true;
}

template <bool kAligned, Form kForm>
DUALVM_STEP load_whole(DUALVM_STEP_ARGUMENTS) {
    const u64 linear = address<kForm>(s, op);
    const u8* m = kAligned ? host_to_read_aligned(s, linear) : host_to_read<16>(s, linear);
    if (__builtin_expect(m == nullptr, 0)) return false;
    set_vector(s, op->dst, load<Vector>(m));
    return true;
}

template <bool kAligned, Form kForm>
DUALVM_STEP store_whole(DUALVM_STEP_ARGUMENTS) {
    const u64 linear = address<kForm>(s, op);
    u8* m = kAligned ? host_to_write_aligned(s, linear) : host_to_write<16>(s, linear);
    if (__builtin_expect(m == nullptr, 0)) return false;
    store<Vector>(m, get_vector(s, op->src));
    return true;
}

// --- parts of registers
// -----------------------------------------------------------------------------------------------

// Loads: MOVSS, MOVSD, MOVD and MOVQ clear the rest of the register, MOVLPS .. MOVHPD keep it.
DUALVM_SSE_OPERATION(LoadSingle, "movss", 4)
DUALVM_SSE_OPERATION(LoadDouble, "movsd", 8)
DUALVM_SSE_OPERATION(LoadLow, "movlps", 8)
DUALVM_SSE_OPERATION(LoadHigh, "movhps", 8)

// Between registers.
#define DUALVM_SSE_MOVE(NAME, TEXT)                                        \
    struct NAME {                                                          \
        static constexpr unsigned kBytes = 16;                             \
        static void run(Vector& d, const Bytes<16>& source) {              \
            const Vector from = *reinterpret_cast<const Vector*>(&source); \
            asm(TEXT " %1, %0" : "+x"(d) : "x"(from));                     \
        }                                                                  \
    };
DUALVM_SSE_MOVE(MoveSingle, "movss")
DUALVM_SSE_MOVE(MoveDouble, "movsd")
DUALVM_SSE_MOVE(MoveHighToLow, "movhlps")
DUALVM_SSE_MOVE(MoveLowToHigh, "movlhps")
#undef DUALVM_SSE_MOVE

// Volatile: compilers drop an assembly whose only result is memory that they see nobody read.
#define DUALVM_SSE_STORE(NAME, TEXT, SIZE)                                                   \
    struct NAME {                                                                            \
        static constexpr unsigned kBytes = SIZE;                                             \
        static void run(void* to, Vector from) {                                             \
            asm volatile(TEXT " %1, %0" : "=m"(*static_cast<Bytes<SIZE>*>(to)) : "x"(from)); \
        }                                                                                    \
    };
DUALVM_SSE_STORE(StoreSingle, "movss", 4)
DUALVM_SSE_STORE(StoreDouble, "movsd", 8)
DUALVM_SSE_STORE(StoreHigh, "movhps", 8)
#undef DUALVM_SSE_STORE

template <class Operation, Form kForm>
DUALVM_STEP store_part(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<Operation::kBytes>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    Operation::run(m, get_vector(s, op->src));
    return true;
}

// MOVD and MOVQ to a general register.
template <class T>
DUALVM_STEP to_gpr(DUALVM_STEP_ARGUMENTS) {
    set<T>(s, op->dst, get<T>(s, op->src));
    return true;
}

}  // namespace dualvm::interp::fast
