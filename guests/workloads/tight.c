// The tight loop: ADD, XOR, DEC, JNZ, `size` times.
#include "workload.h"

static uint64_t loop(uint64_t size, unsigned char* memory) {
    (void)memory;
    uint64_t sum = 0, mix = 0x9e3779b97f4a7c15;
    if (size == 0) return 0;
    __asm__ volatile(
        ".Lagain%=:\n"
        "add %0, %1\n"
        "xor %1, %0\n"
        "dec %2\n"
        "jnz .Lagain%=\n"
        : "+r"(sum), "+r"(mix), "+r"(size)
        :
        : "cc");
    return sum ^ mix;
}

const struct Workload workload = {"tight", 5000000, loop, 1};
