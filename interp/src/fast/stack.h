// Memory at the stack pointer.
//
// Nearly every access to the stack is to the page of the one before, so State keeps that page's TLB entry by itself and
// PUSH, POP, CALL and RET need not look for it.
#pragma once

#include "handler.h"

namespace dualvm::interp::fast {

// The host address of what is on a remembered page, or nullptr: elsewhere, or not aligned. (host_in() looks at the page
// of the last byte, and counts on an entry that was found by the page of the first. These were not: what begins in the
// page below would be taken for this page's.)
template <unsigned kSize>
inline u8* host_on_stack(const TlbEntry& remembered, u64 linear) {
    if (__builtin_expect(remembered.tag != Aligned<kSize>::wanted(linear), 0)) return nullptr;
    u8* host = reinterpret_cast<u8*>(linear + remembered.addend);
    if (host == nullptr) __builtin_unreachable();
    return host;
}
template <class T>
inline bool aligned(u64 linear) {
    return (linear & (sizeof(T) - 1)) == 0;
}

// Where PUSH and CALL go when the stack has come to another page: if the TLB knows the page the instruction begins
// again, with this page remembered.
template <class T>
void push_elsewhere(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp - sizeof(T));
    if (!aligned<T>(top) || host_to_write<sizeof(T)>(s, top) == nullptr) DUALVM_TAIL reference(DUALVM_PASS);
    s->stack_write = *s->tlb->write.find(top);
    DUALVM_GO(op);
}

// The same for POP and RET.
template <class T>
void pop_elsewhere(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp);
    if (!aligned<T>(top) || host_to_read<sizeof(T)>(s, top) == nullptr) DUALVM_TAIL reference(DUALVM_PASS);
    s->stack_read = *s->tlb->read.find(top);
    DUALVM_GO(op);
}

// --- steps: `sp` and CpuFile's RSP are one value, and change together

#define DUALVM_SET_STACK_POINTER(VALUE) s->cpu.general.gpr[RSP] = sp = (VALUE)

template <class T>
DUALVM_STEP push_register(DUALVM_STEP_ARGUMENTS) {
    const T top = static_cast<T>(sp - sizeof(T));
    u8* m = host_on_stack<sizeof(T)>(s->stack_write, top);
    if (m == nullptr) return false;
    store<T>(m, get<T>(s, op->src));
    DUALVM_SET_STACK_POINTER(top);
    return true;
}

template <class T>
DUALVM_STEP push_immediate(DUALVM_STEP_ARGUMENTS) {
    const T top = static_cast<T>(sp - sizeof(T));
    u8* m = host_on_stack<sizeof(T)>(s->stack_write, top);
    if (m == nullptr) return false;
    store<T>(m, static_cast<T>(op->imm));
    DUALVM_SET_STACK_POINTER(top);
    return true;
}

template <class T, Form kForm>
DUALVM_STEP push_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* from = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    const T top = static_cast<T>(sp - sizeof(T));
    u8* to = host_to_write<sizeof(T)>(s, top);
    if (from == nullptr || to == nullptr) return false;
    store<T>(to, load<T>(from));
    DUALVM_SET_STACK_POINTER(top);
    return true;
}

template <class T>
DUALVM_STEP pop_register(DUALVM_STEP_ARGUMENTS) {
    const T top = static_cast<T>(sp);
    const u8* m = host_on_stack<sizeof(T)>(s->stack_read, top);
    if (m == nullptr) return false;
    set<T>(s, op->dst, load<T>(m));
    DUALVM_SET_STACK_POINTER(static_cast<T>(top + sizeof(T)));
    return true;
}

// LEAVE: RSP := RBP; RBP := pop.
template <class T>
DUALVM_STEP leave_frame(DUALVM_STEP_ARGUMENTS) {
    const T frame = get<T>(s, 8 * RBP);
    const u8* m = host_to_read<sizeof(T)>(s, frame);
    if (m == nullptr) return false;
    set<T>(s, 8 * RBP, load<T>(m));
    DUALVM_SET_STACK_POINTER(static_cast<T>(frame + sizeof(T)));
    return true;
}

template <class Operation, class T, bool kFlags>
DUALVM_STEP compute_stack_pointer(DUALVM_STEP_ARGUMENTS) {
    T top = static_cast<T>(sp);
    if constexpr (kFlags) {
        Operation::with_flags(top, static_cast<T>(op->imm), flags);
    } else {
        Operation::without_flags(top, static_cast<T>(op->imm));
    }
    DUALVM_SET_STACK_POINTER(top);
    return true;
}

template <class T>
DUALVM_STEP mov_stack_pointer(DUALVM_STEP_ARGUMENTS) {
    DUALVM_SET_STACK_POINTER(get<T>(s, op->src));
    return true;
}

template <class T, Form kForm>
DUALVM_STEP lea_stack_pointer(DUALVM_STEP_ARGUMENTS) {
    DUALVM_SET_STACK_POINTER(static_cast<T>(address<kForm>(s, op)));
    return true;
}

template <>
inline constexpr Handler kOtherwise<push_register<u32>> = push_elsewhere<u32>;
template <>
inline constexpr Handler kOtherwise<push_register<u64>> = push_elsewhere<u64>;
template <>
inline constexpr Handler kOtherwise<push_immediate<u32>> = push_elsewhere<u32>;
template <>
inline constexpr Handler kOtherwise<push_immediate<u64>> = push_elsewhere<u64>;
template <>
inline constexpr Handler kOtherwise<pop_register<u32>> = pop_elsewhere<u32>;
template <>
inline constexpr Handler kOtherwise<pop_register<u64>> = pop_elsewhere<u64>;

}  // namespace dualvm::interp::fast
