// Pointer chase: `size` loads, each of which says where the next one is. The nodes form one cycle in random order.
#include "workload.h"

struct Node {
    struct Node* next;
    uint64_t number;
};

static uint64_t chase(uint64_t size, unsigned char* memory) {
    struct Node* const nodes = (struct Node*)memory;
    const uint64_t count = size < 262144 ? size + 1 : 262144;  // 4 MiB: more than first-level caches and TLBs hold
    uint64_t state = 88172645463325252;
    for (uint64_t i = 0; i < count; ++i) nodes[i].number = i;
    // Sattolo's shuffle gives a single cycle.
    for (uint64_t i = count - 1; i > 0; --i) {
        const uint64_t other = next_random(&state) % i;
        const uint64_t swapped = nodes[i].number;
        nodes[i].number = nodes[other].number;
        nodes[other].number = swapped;
    }
    for (uint64_t i = 0; i < count; ++i) nodes[i].next = &nodes[nodes[i].number];

    uint64_t checksum = 0;
    const struct Node* node = nodes;
    for (uint64_t step = 0; step < size; ++step) {
        checksum += node->number;
        node = node->next;
    }
    return checksum;
}

const struct Workload workload = {"chase", 2000000, chase, 0};
