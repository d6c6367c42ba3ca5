// Integer matrix product: C = A × B for two `size` × `size` matrices of 32-bit numbers, summed up.
#include "workload.h"

static uint64_t multiply_matrices(uint64_t size, unsigned char* memory) {
    if (size > 2048) size = 2048;
    uint32_t* const a = (uint32_t*)memory;
    uint32_t* const b = a + size * size;
    uint32_t* const c = b + size * size;
    uint64_t state = 88172645463325252;
    for (uint64_t i = 0; i < 2 * size * size; ++i) a[i] = (uint32_t)next_random(&state);  // a, and b behind it

    for (uint64_t row = 0; row < size; ++row) {
        for (uint64_t column = 0; column < size; ++column) {
            uint32_t sum = 0;
            for (uint64_t k = 0; k < size; ++k) sum += a[row * size + k] * b[k * size + column];
            c[row * size + column] = sum;
        }
    }
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < size * size; ++i) checksum += c[i];
    return checksum;
}

const struct Workload workload = {"matmul", 128, multiply_matrices, 0};
