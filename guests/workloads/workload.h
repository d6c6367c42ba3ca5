// A workload: a piece of pure computing with a checksum. The same object file is linked into a guest
// (workloads/guest_main.c) and into a Linux program (workloads/native_main.c), so that both run the very same
// instructions.
#pragma once

#include <stdint.h>

struct Workload {
    const char* name;
    uint64_t default_size;                                       // takes 5 to 50 million instructions
    uint64_t (*checksum)(uint64_t size, unsigned char* memory);  // does the work; `memory` is for its use
    int hexadecimal;                                             // how the checksum is printed
};

// Each workload's file defines this one.
extern const struct Workload workload;

// How much memory a workload may use.
enum { kWorkloadMemory = 64 << 20 };

// A small generator of numbers that only look random (Marsaglia, "Xorshift RNGs", 2003). The seed must not be 0.
static inline uint64_t next_random(uint64_t* state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}
