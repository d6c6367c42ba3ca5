// Block copy: moves `size` bytes in blocks of 64 KiB, by REP MOVSB and REP MOVSQ in turns.
#include "workload.h"

enum { kBlock = 65536 };

static void copy_bytes(unsigned char* to, const unsigned char* from, uint64_t count) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void copy_words(unsigned char* to, const unsigned char* from, uint64_t count) {
    uint64_t words = count / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

static uint64_t copy_blocks(uint64_t size, unsigned char* memory) {
    unsigned char *from = memory, *to = memory + kBlock;
    const uint64_t blocks = size / kBlock;
    uint64_t state = 88172645463325252;
    for (uint64_t i = 0; i < kBlock; i += 8) *(uint64_t*)(memory + i) = next_random(&state);
    for (uint64_t block = 0; block < blocks; ++block) {
        ++from[block % kBlock];  // so that each copy matters
        if (block % 2 == 0) {
            copy_bytes(to, from, kBlock);
        } else {
            copy_words(to, from, kBlock);
        }
        unsigned char* const swapped = from;
        from = to;
        to = swapped;
    }
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < kBlock; i += 8) checksum = checksum * 31 + *(const uint64_t*)(from + i);
    return checksum;
}

const struct Workload workload = {"blockcopy", 32 << 20, copy_blocks, 1};
