// The instructions that C has no words for: control registers, MSRs, interrupts on and off.
#pragma once

#include <stdint.h>

#define CONTROL_REGISTER(name)                                           \
    static inline unsigned long read_##name(void) {                      \
        unsigned long value;                                             \
        __asm__ volatile("mov %0, " #name : "=r"(value));                \
        return value;                                                    \
    }                                                                    \
    static inline void write_##name(unsigned long value) {               \
        __asm__ volatile("mov " #name ", %0" : : "r"(value) : "memory"); \
    }
CONTROL_REGISTER(cr0)
CONTROL_REGISTER(cr2)
CONTROL_REGISTER(cr3)
CONTROL_REGISTER(cr4)
#undef CONTROL_REGISTER

enum { kCr0WriteProtect = 1 << 16, kCr4PageSizeExtensions = 1 << 4, kCr4Pae = 1 << 5, kCr4FxsaveSse = 1 << 9 };

// XMM registers and the instructions on them.
// With the x87 unit as the ABI has it: after a reset its exceptions are not masked.
static inline void sse_enable(void) {
    write_cr4(read_cr4() | kCr4FxsaveSse);
    __asm__ volatile("fninit");
}

static inline uint64_t read_msr(uint32_t index) {
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return ((uint64_t)high << 32) | low;
}

static inline void write_msr(uint32_t index, uint64_t value) {
    __asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_SFMASK 0xc0000084u
enum { kEferSyscall = 1 << 0, kEferNoExecute = 1 << 11 };

static inline void invalidate_page(const volatile void* address) {
    __asm__ volatile("invlpg [%0]" : : "r"(address) : "memory");
}

static inline void interrupts_on(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void interrupts_off(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void halt(void) { __asm__ volatile("hlt" : : : "memory"); }

// Interrupts on, and wait for one: STI holds interrupts back until the instruction after it has begun, so none can slip
// in between and leave us halted for ever (Intel SDM volume 2, STI).
static inline void wait_for_interrupt(void) { __asm__ volatile("sti\n hlt" : : : "memory"); }
