// What the fast handlers of SSE instructions are made of.
//
// The guest's XMM registers are in State::fx. A handler loads the destination, runs the guest's own instruction on the
// host with the source as memory operand (a register of the guest is memory, too), and stores the destination: results
// are right because the same CPU instruction makes them. Inline assembly and not C++ operators: compilers swap
// operands, and of two NaNs the first counts.
#pragma once

#include <cstddef>

#include "handler.h"

namespace dualvm::interp::fast {

using Vector [[gnu::vector_size(16), gnu::may_alias]] = long long;

// `kSize` bytes anywhere, as a memory operand of inline assembly.
template <unsigned kSize>
struct [[gnu::packed, gnu::may_alias]] Bytes {
    u8 byte[kSize];
};
// 16 bytes on a boundary of 16, as legacy SSE instructions want them.
template <>
struct alignas(16) [[gnu::may_alias]] Bytes<16> {
    u8 byte[16];
};
template <unsigned kSize>
inline const Bytes<kSize>& bytes(const void* at) {
    return *static_cast<const Bytes<kSize>*>(at);
}
template <unsigned kSize>
inline const Bytes<kSize>& bytes(const State* s, u16 offset) {
    return bytes<kSize>(reinterpret_cast<const char*>(s) + offset);
}

// Always all of a register: the CPU forwards a 16-byte store to any load within it, but a short store to no longer
// load.
inline Vector get_vector(const State* s, u16 offset) {
    return *reinterpret_cast<const Vector*>(reinterpret_cast<const char*>(s) + offset);
}
inline void set_vector(State* s, u16 offset, Vector value) {
    *reinterpret_cast<Vector*>(reinterpret_cast<char*>(s) + offset) = value;
}

inline u16 vector_offset(u8 reg) { return static_cast<u16>(State::kFxOffset + offsetof(FxImage, xmm) + 16 * reg); }

// xmm := xmm OP source. TEXT is the instruction; kBytes what it reads of a memory operand. Volatile: it is done even if
// nobody wants the result, for MXCSR's flags, and stays behind the loading of MXCSR.
#define DUALVM_SSE_OPERATION(NAME, TEXT, SIZE)                    \
    struct NAME {                                                 \
        static constexpr unsigned kBytes = SIZE;                  \
        static void run(Vector& d, const Bytes<SIZE>& source) {   \
            asm volatile(TEXT " %1, %0" : "+x"(d) : "m"(source)); \
        }                                                         \
    };

template <class Operation>
DUALVM_STEP sse_register(DUALVM_STEP_ARGUMENTS) {
    Vector d = get_vector(s, op->dst);
    Operation::run(d, bytes<Operation::kBytes>(s, op->src));
    set_vector(s, op->dst, d);
    return true;
}

// The host address of an operand of an instruction that wants 16 bytes aligned.
template <unsigned kSize>
inline const u8* host_to_read_sse(const State* s, u64 linear) {
    if constexpr (kSize == 16) {
        return host_to_read_aligned(s, linear);
    } else {
        return host_to_read<kSize>(s, linear);
    }
}
template <unsigned kSize>
inline u8* host_to_write_sse(const State* s, u64 linear) {
    if constexpr (kSize == 16) {
        return host_to_write_aligned(s, linear);
    } else {
        return host_to_write<kSize>(s, linear);
    }
}

template <class Operation, Form kForm>
DUALVM_STEP sse_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read_sse<Operation::kBytes>(s, address<kForm>(s, op));
    if (__builtin_expect(m == nullptr, 0)) return false;
    Vector d = get_vector(s, op->dst);
    Operation::run(d, bytes<Operation::kBytes>(m));
    set_vector(s, op->dst, d);
    return true;
}

// xmm := xmm OP xmm/memory.
template <class Operation>
Handler choose_sse(const Choice& c, Op& op) {
    const Operand &a = c.insn->operand[0], &b = c.insn->operand[1];
    if (a.kind != OperandKind::Xmm) return nullptr;
    op.dst = vector_offset(a.reg);
    if (b.kind == OperandKind::Xmm) {
        op.src = vector_offset(b.reg);
        return single<sse_register<Operation>>;
    }
    if (b.kind != OperandKind::Memory || b.size != Operation::kBytes) return nullptr;
    return by_form(c.form, [&]<Form kForm>() -> Handler { return single<sse_memory<Operation, kForm>>; });
}

}  // namespace dualvm::interp::fast
