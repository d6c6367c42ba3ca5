// MMIO storm: fills the VGA's text screen at B8000h `size` times and reads it back, 16 bits at a time. Under KVM each
// access is an exit, unless the screen is plain memory to it.
#include "workload.h"

enum { kCells = 80 * 25 };

static uint64_t storm(uint64_t size, unsigned char* memory) {
    (void)memory;
    volatile uint16_t* const screen = (volatile uint16_t*)0xb8000;
    uint64_t checksum = 0;
    for (uint64_t round = 0; round < size; ++round) {
        // White letters on black; the low byte is the character.
        for (unsigned cell = 0; cell < kCells; ++cell) screen[cell] = (uint16_t)(0x0f00 | (' ' + (cell + round) % 95));
        for (unsigned cell = 0; cell < kCells; ++cell) checksum = checksum * 3 + screen[cell];
    }
    return checksum;
}

const struct Workload workload = {"mmiostorm", 5, storm, 1};
