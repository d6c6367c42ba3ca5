// Steps of MOV MOVZX MOVSX MOVSXD LEA BSWAP, CBW.. CQO; CLC STC CMC CLD STD.
#pragma once

#include "handler.h"

namespace dualvm::interp::fast {

template <class T>
DUALVM_STEP mov_register(DUALVM_STEP_ARGUMENTS) {
    set<T>(s, op->dst, get<T>(s, op->src));
    return true;
}

template <class T>
DUALVM_STEP mov_immediate(DUALVM_STEP_ARGUMENTS) {
    set<T>(s, op->dst, static_cast<T>(op->imm));
    return true;
}

template <class T, Form kForm>
DUALVM_STEP mov_load(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    set<T>(s, op->dst, load<T>(m));
    return true;
}

template <class T, Form kForm>
DUALVM_STEP mov_store(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    store<T>(m, get<T>(s, op->src));
    return true;
}

template <class T, Form kForm>
DUALVM_STEP mov_store_immediate(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    store<T>(m, static_cast<T>(op->imm));
    return true;
}

// MOVZX and MOVSX: To and From are both signed or both unsigned.
template <class To, class From>
DUALVM_STEP extend_register(DUALVM_STEP_ARGUMENTS) {
    set<std::make_unsigned_t<To>>(s, op->dst, static_cast<std::make_unsigned_t<To>>(To{get<From>(s, op->src)}));
    return true;
}

template <class To, class From, Form kForm>
DUALVM_STEP extend_load(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(From)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    set<std::make_unsigned_t<To>>(s, op->dst, static_cast<std::make_unsigned_t<To>>(To{load<From>(m)}));
    return true;
}

template <class T, Form kForm>
DUALVM_STEP lea(DUALVM_STEP_ARGUMENTS) {
    set<T>(s, op->dst, static_cast<T>(address<kForm>(s, op)));
    return true;
}

template <class T>
DUALVM_STEP bswap(DUALVM_STEP_ARGUMENTS) {
    const T a = get<T>(s, op->dst);
    if constexpr (sizeof(T) == 8) {
        set<T>(s, op->dst, __builtin_bswap64(a));
    } else {
        set<T>(s, op->dst, __builtin_bswap32(a));
    }
    return true;
}

// CBW, CWDE, CDQE: RAX := sign extension of its lower half.
template <class To, class From>
DUALVM_STEP sign_extend_accumulator(DUALVM_STEP_ARGUMENTS) {
    set<std::make_unsigned_t<To>>(s, 8 * RAX, static_cast<std::make_unsigned_t<To>>(To{get<From>(s, 8 * RAX)}));
    return true;
}

// CWD, CDQ, CQO: RDX := the sign of RAX.
template <class T>
DUALVM_STEP sign_of_accumulator(DUALVM_STEP_ARGUMENTS) {
    set<std::make_unsigned_t<T>>(s, 8 * RDX, static_cast<std::make_unsigned_t<T>>(get<T>(s, 8 * RAX) < 0 ? -1 : 0));
    return true;
}

// CLC, STC, CMC; CLD, STD.
enum class Carry : u8 { Clear, Set, Complement };
template <Carry kChange>
DUALVM_STEP change_carry(DUALVM_STEP_ARGUMENTS) {
    if constexpr (kChange == Carry::Clear) flags &= ~kCarryFlag;
    if constexpr (kChange == Carry::Set) flags |= kCarryFlag;
    if constexpr (kChange == Carry::Complement) flags ^= kCarryFlag;
    return true;
}
template <bool kDown>
DUALVM_STEP change_direction(DUALVM_STEP_ARGUMENTS) {
    if constexpr (kDown) {
        s->cpu.general.rflags |= rflags::DF;
    } else {
        s->cpu.general.rflags &= ~rflags::DF;
    }
    return true;
}

}  // namespace dualvm::interp::fast
