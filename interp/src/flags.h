// Arithmetic flags in the host's form, and the arithmetic itself on the host's own ALU.
//
// Guest and host are both x86: the guest's ADD is the host's ADD, and its flags are taken as they come, by LAHF
// (SF ZF AF PF CF into AH) and SETO (OF into AL). Bits 15-8 of a `u32 flags` are AH, bits 7-0 are OF as 0 or 1; bits
// above are noise. ADD $127, AL brings OF back (1 + 127 overflows), SAHF the others. The manual's formulas stand in
// reference/reference_flags.h, and a test holds the two against each other.
#pragma once

#include <type_traits>

#include "state.h"

namespace dualvm::interp {

inline constexpr u32 kCarryFlag = 0x100, kZeroFlag = 0x4000;

inline u32 pack_flags(u64 rflags) { return static_cast<u32>(((rflags & 0xd5) | 2) << 8 | ((rflags >> 11) & 1)); }
inline u64 unpack_flags(u32 flags) { return ((flags >> 8) & 0xd5) | u64{flags & 1} << 11; }
inline u64 merge_flags(u64 rflags, u32 flags) { return (rflags & ~rflags::Arithmetic) | unpack_flags(flags); }

// Condition codes in the order of Jcc's opcodes: O NO B NB Z NZ BE NBE S NS P NP L NL LE NLE (SDM vol. 1, B.1).
template <unsigned kCondition>
inline bool condition(u32 f) {
    constexpr u32 kCf = 0x100, kPf = 0x400, kZf = 0x4000, kSf = 0x8000, kOf = 1;
    bool r = false;
    switch (kCondition / 2) {
        case 0: r = (f & kOf) != 0; break;
        case 1: r = (f & kCf) != 0; break;
        case 2: r = (f & kZf) != 0; break;
        case 3: r = (f & (kCf | kZf)) != 0; break;
        case 4: r = (f & kSf) != 0; break;
        case 5: r = (f & kPf) != 0; break;
        case 6: r = (((f >> 15) ^ f) & 1) != 0; break;
        case 7: r = (f & kZf) != 0 || (((f >> 15) ^ f) & 1) != 0; break;
        default: break;
    }
    return r != ((kCondition & 1) != 0);
}

#define DUALVM_KEEP_FLAGS "\n\tlahf\n\tseto %%al"
#define DUALVM_RESTORE_CARRY "sahf\n\t"
#define DUALVM_RESTORE_FLAGS "addb $127, %%al\n\tsahf\n\t"

// a := a OP b, all flags written.
#define DUALVM_BINARY(NAME, INSTRUCTION)                                                     \
    struct NAME {                                                                            \
        static constexpr bool kWrites = true, kReadsCarry = false;                           \
        template <class T>                                                                   \
        static void with_flags(T& a, T b, u32& f) {                                          \
            asm(INSTRUCTION " %2, %0" DUALVM_KEEP_FLAGS : "+q"(a), "=a"(f) : "q"(b) : "cc"); \
        }                                                                                    \
        template <class T>                                                                   \
        static void without_flags(T& a, T b) {                                               \
            asm(INSTRUCTION " %1, %0" : "+q"(a) : "q"(b) : "cc");                            \
        }                                                                                    \
    };
DUALVM_BINARY(Add, "add")
DUALVM_BINARY(Or, "or")
DUALVM_BINARY(And, "and")
DUALVM_BINARY(Sub, "sub")
DUALVM_BINARY(Xor, "xor")
#undef DUALVM_BINARY

// CMP and TEST: flags only.
#define DUALVM_COMPARE(NAME, INSTRUCTION)                                                   \
    struct NAME {                                                                           \
        static constexpr bool kWrites = false, kReadsCarry = false;                         \
        template <class T>                                                                  \
        static void with_flags(T& a, T b, u32& f) {                                         \
            asm(INSTRUCTION " %2, %1" DUALVM_KEEP_FLAGS : "=a"(f) : "q"(a), "q"(b) : "cc"); \
        }                                                                                   \
        template <class T>                                                                  \
        static void without_flags(T&, T) {}                                                 \
    };
DUALVM_COMPARE(Cmp, "cmp")
DUALVM_COMPARE(Test, "test")
#undef DUALVM_COMPARE

// ADC and SBB: the carry comes in.
#define DUALVM_CARRY(NAME, INSTRUCTION)                                                                           \
    struct NAME {                                                                                                 \
        static constexpr bool kWrites = true, kReadsCarry = true;                                                 \
        template <class T>                                                                                        \
        static void with_flags(T& a, T b, u32& f) {                                                               \
            asm(DUALVM_RESTORE_CARRY INSTRUCTION " %2, %0" DUALVM_KEEP_FLAGS : "+q"(a), "+a"(f) : "q"(b) : "cc"); \
        }                                                                                                         \
    };
DUALVM_CARRY(Adc, "adc")
DUALVM_CARRY(Sbb, "sbb")
#undef DUALVM_CARRY

// INC and DEC keep CF; NEG writes all flags; NOT writes none.
#define DUALVM_UNARY(NAME, BEFORE, INSTRUCTION)                                          \
    struct NAME {                                                                        \
        template <class T>                                                               \
        static void with_flags(T& a, u32& f) {                                           \
            asm(BEFORE INSTRUCTION " %0" DUALVM_KEEP_FLAGS : "+q"(a), "+a"(f) : : "cc"); \
        }                                                                                \
        template <class T>                                                               \
        static void without_flags(T& a) {                                                \
            asm(INSTRUCTION " %0" : "+q"(a) : : "cc");                                   \
        }                                                                                \
    };
DUALVM_UNARY(Inc, DUALVM_RESTORE_CARRY, "inc")
DUALVM_UNARY(Dec, DUALVM_RESTORE_CARRY, "dec")
DUALVM_UNARY(Neg, "", "neg")
#undef DUALVM_UNARY

// Behind a shift AF is undefined: Intel's CPUs clear it, AMD's set it. Here it is cleared on every host. No shift, no
// change.
template <class T>
inline void clear_af_after_shift(u8 count, u32& f) {
    constexpr u32 kAf = 0x1000;
    f &= (count & (sizeof(T) == 8 ? 63 : 31)) != 0 ? ~kAf : ~u32{0};
}

template <class T>
inline void keep_af(u8, u32&) {}  // as rotates do

// Shifts and rotates leave some flags alone, all of them if the masked count is 0: the guest's are restored first.
#define DUALVM_SHIFT(NAME, INSTRUCTION, BEHIND)                                \
    struct NAME {                                                              \
        template <class T>                                                     \
        static void with_flags(T& a, u8 count, u32& f) {                       \
            asm(DUALVM_RESTORE_FLAGS INSTRUCTION " %%cl, %0" DUALVM_KEEP_FLAGS \
                : "+q"(a), "+a"(f)                                             \
                : "c"(count)                                                   \
                : "cc");                                                       \
            BEHIND(count, f);                                                  \
        }                                                                      \
        template <class T>                                                     \
        static void without_flags(T& a, u8 count) {                            \
            asm(INSTRUCTION " %%cl, %0" : "+q"(a) : "c"(count) : "cc");        \
        }                                                                      \
    };
DUALVM_SHIFT(Rol, "rol", keep_af<T>)
DUALVM_SHIFT(Ror, "ror", keep_af<T>)
DUALVM_SHIFT(Shl, "shl", clear_af_after_shift<T>)
DUALVM_SHIFT(Shr, "shr", clear_af_after_shift<T>)
DUALVM_SHIFT(Sar, "sar", clear_af_after_shift<T>)
DUALVM_SHIFT(Rcl, "rcl", keep_af<T>)  // these two want the carry: with_flags() only
DUALVM_SHIFT(Rcr, "rcr", keep_af<T>)
#undef DUALVM_SHIFT

// SHLD and SHRD.
#define DUALVM_DOUBLE_SHIFT(NAME, INSTRUCTION)                                     \
    struct NAME {                                                                  \
        template <class T>                                                         \
        static void with_flags(T& a, T b, u8 count, u32& f) {                      \
            asm(DUALVM_RESTORE_FLAGS INSTRUCTION " %%cl, %2, %0" DUALVM_KEEP_FLAGS \
                : "+r"(a), "+a"(f)                                                 \
                : "r"(b), "c"(count)                                               \
                : "cc");                                                           \
            clear_af_after_shift<T>(count, f);                                     \
        }                                                                          \
    };
DUALVM_DOUBLE_SHIFT(Shld, "shld")
DUALVM_DOUBLE_SHIFT(Shrd, "shrd")
#undef DUALVM_DOUBLE_SHIFT

}  // namespace dualvm::interp
