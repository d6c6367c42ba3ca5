// Products of the columns of two matrices of 1024 x 1024 numbers that lie 4 MiB apart: every access is a page further,
// and those to the two meet in a TLB that is indexed by the lower bits of the page's number. `size` columns.
#include "workload.h"

enum { kSide = 1024 };

static uint64_t columns(uint64_t size, unsigned char* memory) {
    uint32_t* const a = (uint32_t*)memory;
    uint32_t* const b = a + kSide * kSide;
    const uint64_t rows = size < 16 ? size : kSide;
    for (uint64_t i = 0; i < rows * kSide; i += 64) a[i] = b[i] = (uint32_t)i;
    uint64_t checksum = 0;
    for (uint64_t column = 0; column < size; ++column) {
        const uint64_t place = column * 64 % kSide;
        for (uint64_t row = 0; row < rows; ++row) {
            checksum += (uint64_t)a[row * kSide + place] * b[row * kSide + place];
        }
    }
    return checksum;
}

const struct Workload workload = {"columns", 600, columns, 1};
