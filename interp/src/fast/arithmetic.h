// Steps of ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT, IMUL MUL DIV IDIV.
#pragma once

#include "handler.h"

namespace dualvm::interp::fast {

template <class Operation, class T, bool kFlags>
inline void apply(T& a, T b, u32& flags) {
    if constexpr (kFlags || Operation::kReadsCarry) {
        Operation::with_flags(a, b, flags);
    } else {
        Operation::without_flags(a, b);
    }
}

template <class Operation, class T, bool kFlags>
DUALVM_STEP register_register(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    apply<Operation, T, kFlags>(a, get<T>(s, op->src), flags);
    if constexpr (Operation::kWrites) set<T>(s, op->dst, a);
    return true;
}

template <class Operation, class T, bool kFlags>
DUALVM_STEP register_immediate(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    apply<Operation, T, kFlags>(a, static_cast<T>(op->imm), flags);
    if constexpr (Operation::kWrites) set<T>(s, op->dst, a);
    return true;
}

template <class Operation, class T, bool kFlags, Form kForm>
DUALVM_STEP register_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    T a = get<T>(s, op->dst);
    apply<Operation, T, kFlags>(a, load<T>(m), flags);
    if constexpr (Operation::kWrites) set<T>(s, op->dst, a);
    return true;
}

template <class Operation, class T, Form kForm, bool kImmediate>
DUALVM_STEP memory_value(DUALVM_STEP_ARGUMENTS) {
    const u64 linear = address<kForm>(s, op);
    u8* m = Operation::kWrites ? host_to_write<sizeof(T)>(s, linear) : host_to_read<sizeof(T)>(s, linear);
    if (m == nullptr) return false;
    T a = load<T>(m);
    Operation::with_flags(a, kImmediate ? static_cast<T>(op->imm) : get<T>(s, op->src), flags);
    if constexpr (Operation::kWrites) store<T>(m, a);
    return true;
}

template <class Operation, class T, bool kFlags>
DUALVM_STEP unary_register(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    if constexpr (kFlags) {
        Operation::with_flags(a, flags);
    } else {
        Operation::without_flags(a);
    }
    set<T>(s, op->dst, a);
    return true;
}

template <class Operation, class T, Form kForm>
DUALVM_STEP unary_memory(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    T a = load<T>(m);
    Operation::with_flags(a, flags);
    store<T>(m, a);
    return true;
}

template <class T>
DUALVM_STEP not_register(DUALVM_STEP_ARGUMENTS) {
    set<T>(s, op->dst, static_cast<T>(~get<T>(s, op->dst)));
    return true;
}

template <class T, Form kForm>
DUALVM_STEP not_memory(DUALVM_STEP_ARGUMENTS) {
    u8* m = host_to_write<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    store<T>(m, static_cast<T>(~load<T>(m)));
    return true;
}

// IMUL with two and three operands: CF = OF = the product does not fit; the others as the host leaves them.
template <class T>
inline void multiply(T& a, T b, u32& flags) {
    asm(DUALVM_RESTORE_FLAGS "imul %2, %0" DUALVM_KEEP_FLAGS : "+r"(a), "+a"(flags) : "r"(b) : "cc");
}

template <class T, bool kFlags>
DUALVM_STEP imul_register(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->dst);
    if constexpr (kFlags) {
        multiply<T>(a, get<T>(s, op->src), flags);
    } else {
        a = static_cast<T>(u64{a} * get<T>(s, op->src));
    }
    set<T>(s, op->dst, a);
    return true;
}

template <class T, bool kFlags>
DUALVM_STEP imul_immediate(DUALVM_STEP_ARGUMENTS) {
    T a = get<T>(s, op->src);
    if constexpr (kFlags) {
        multiply<T>(a, static_cast<T>(op->imm), flags);
    } else {
        a = static_cast<T>(u64{a} * static_cast<T>(op->imm));
    }
    set<T>(s, op->dst, a);
    return true;
}

template <class T, Form kForm>
DUALVM_STEP imul_memory_immediate(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    T a = load<T>(m);
    multiply<T>(a, static_cast<T>(op->imm), flags);
    set<T>(s, op->dst, a);
    return true;
}

template <class T, Form kForm, bool kFlags>
DUALVM_STEP imul_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    if (m == nullptr) return false;
    T a = get<T>(s, op->dst);
    if constexpr (kFlags) {
        multiply<T>(a, load<T>(m), flags);
    } else {
        a = static_cast<T>(u64{a} * load<T>(m));
    }
    set<T>(s, op->dst, a);
    return true;
}

// MUL, IMUL with one operand: RDX:RAX := RAX * b. CF = OF = the upper half says something; the others untouched.
#define DUALVM_WIDE_PRODUCT(NAME, INSTRUCTION)                                                         \
    struct NAME {                                                                                      \
        template <class T>                                                                             \
        static bool multiply(T& low, T& high, T b) {                                                   \
            u8 overflow = 0;                                                                           \
            asm(INSTRUCTION " %3\n\tseto %2" : "+a"(low), "=d"(high), "=r"(overflow) : "r"(b) : "cc"); \
            return overflow != 0;                                                                      \
        }                                                                                              \
    };
DUALVM_WIDE_PRODUCT(MulWide, "mul")
DUALVM_WIDE_PRODUCT(ImulWide, "imul")
#undef DUALVM_WIDE_PRODUCT

template <class Product>
struct Multiply {
    template <class T>
    static bool run(State* s, T b, u32& flags) {
        T low = get<T>(s, 8 * RAX), high = 0;
        const bool overflow = Product::template multiply<T>(low, high, b);
        set<T>(s, 8 * RAX, low);
        set<T>(s, 8 * RDX, high);
        flags = (flags & ~u32{0x1ff}) | (overflow ? 0x101u : 0u);
        return true;
    }
};

// DIV where the quotient fits; #DE is the reference's business. Flags are undefined: left alone.
struct Divide {
    template <class T>
    static bool run(State* s, T divisor, u32&) {
        const T high = get<T>(s, 8 * RDX);
        if (high >= divisor) return false;
        T quotient = get<T>(s, 8 * RAX), remainder = high;
        asm("div %2" : "+a"(quotient), "+d"(remainder) : "r"(divisor) : "cc");
        set<T>(s, 8 * RAX, quotient);
        set<T>(s, 8 * RDX, remainder);
        return true;
    }
};

// IDIV where RDX is the sign of RAX, as CDQ and CQO leave it, and the division cannot overflow.
struct DivideSigned {
    template <class T>
    static bool run(State* s, T b, u32&) {
        using Signed = std::make_signed_t<T>;
        const auto dividend = static_cast<Signed>(get<T>(s, 8 * RAX)), divisor = static_cast<Signed>(b);
        const auto sign = static_cast<T>(dividend >> (8 * sizeof(T) - 1));
        if (__builtin_expect(get<T>(s, 8 * RDX) != sign || divisor == 0 || divisor == -1, 0)) return false;
        set<T>(s, 8 * RAX, static_cast<T>(dividend / divisor));
        set<T>(s, 8 * RDX, static_cast<T>(dividend % divisor));
        return true;
    }
};

template <class Operation, class T>
DUALVM_STEP wide_register(DUALVM_STEP_ARGUMENTS) {
    return Operation::template run<T>(s, get<T>(s, op->dst), flags);
}
template <class Operation, class T, Form kForm>
DUALVM_STEP wide_memory(DUALVM_STEP_ARGUMENTS) {
    const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
    return m != nullptr && Operation::template run<T>(s, load<T>(m), flags);
}

}  // namespace dualvm::interp::fast
