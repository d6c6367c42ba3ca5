// Quicksort (Hoare, 1961) of `size` numbers: a checksum that depends on their order.
#include "workload.h"

static void sort(uint64_t* first, uint64_t* last) {
    while (first < last) {
        const uint64_t pivot = first[(last - first) / 2];
        uint64_t *left = first, *right = last;
        while (left <= right) {
            while (*left < pivot) ++left;
            while (*right > pivot) --right;
            if (left > right) break;
            const uint64_t swapped = *left;
            *left++ = *right;
            *right-- = swapped;
        }
        // The smaller part by a call, the larger by going round again: the stack stays small.
        if (right - first < last - left) {
            sort(first, right);
            first = left;
        } else {
            sort(left, last);
            last = right;
        }
    }
}

static uint64_t sort_numbers(uint64_t size, unsigned char* memory) {
    uint64_t* const numbers = (uint64_t*)memory;
    if (size > kWorkloadMemory / sizeof *numbers) size = kWorkloadMemory / sizeof *numbers;
    uint64_t state = 88172645463325252;
    for (uint64_t i = 0; i < size; ++i) numbers[i] = next_random(&state);
    if (size != 0) sort(numbers, numbers + size - 1);

    uint64_t checksum = 0;
    for (uint64_t i = 0; i < size; ++i) {
        if (i != 0 && numbers[i - 1] > numbers[i]) return 0;  // not sorted
        checksum = checksum * 31 + numbers[i];
    }
    return checksum;
}

const struct Workload workload = {"quicksort", 100000, sort_numbers, 1};
