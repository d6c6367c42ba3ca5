// Random updates of a table that is larger than caches and TLBs reach: `size` of them, in 16 MiB.
#include "workload.h"

static uint64_t updates(uint64_t size, unsigned char* memory) {
    uint64_t* const table = (uint64_t*)memory;
    const uint64_t count = size < (1 << 21) ? 1 << 12 : 1 << 21;  // a short run does not set out on 16 MiB
    for (uint64_t i = 0; i < count; i += 256) table[i] = i;
    uint64_t state = 1;
    for (uint64_t i = 0; i < size; ++i) {
        state = state * 6364136223846793005 + 1442695040888963407;
        table[(state >> 32) & (count - 1)] ^= state;
    }
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < count; i += 256) checksum += table[i];
    return checksum;
}

const struct Workload workload = {"updates", 4000000, updates, 1};
