// Port I/O.
#pragma once

#include <stdint.h>

static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("out dx, al" : : "a"(value), "d"(port)); }

static inline uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("in al, dx" : "=a"(value) : "d"(port));
    return value;
}

static inline void out16(uint16_t port, uint16_t value) { __asm__ volatile("out dx, ax" : : "a"(value), "d"(port)); }

static inline uint16_t in16(uint16_t port) {
    uint16_t value;
    __asm__ volatile("in ax, dx" : "=a"(value) : "d"(port));
    return value;
}

static inline void out32(uint16_t port, uint32_t value) { __asm__ volatile("out dx, eax" : : "a"(value), "d"(port)); }

static inline uint32_t in32(uint16_t port) {
    uint32_t value;
    __asm__ volatile("in eax, dx" : "=a"(value) : "d"(port));
    return value;
}
