// Port storm: writes `size` values to the UART's scratch register and reads each back. Under KVM each is an exit.
#include "../runtime/ports.h"
#include "workload.h"

enum { kScratchRegister = 0x3ff };  // COM1 + 7: holds what is written to it

static uint64_t storm(uint64_t size, unsigned char* memory) {
    (void)memory;
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < size; ++i) {
        out8(kScratchRegister, (uint8_t)(i * 7));
        checksum += in8(kScratchRegister);
    }
    return checksum;
}

const struct Workload workload = {"portstorm", 10000, storm, 0};
