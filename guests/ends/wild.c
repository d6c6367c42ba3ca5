// A guest gone wild: random reads and writes of every port, of memory all over the first 4 GiB, and of MSRs. It may end
// in any clean way (by itself, by a reset or a power-off that it happened to ask for, by a limit), but the machine must
// survive it. -append "seed=S count=N ports=0|1 memory=0|1 msrs=0|1"
#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"
#include "../runtime/ports.h"

extern uint64_t boot_pdpt[512];

static uint64_t upper_directories[3][512] __attribute__((aligned(4096)));
static uint64_t state;

// Marsaglia, "Xorshift RNGs", 2003.
static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void map_four_gigabytes(void) {
    for (uint64_t gigabyte = 1; gigabyte < 4; ++gigabyte) {
        uint64_t* directory = upper_directories[gigabyte - 1];
        for (uint64_t i = 0; i < 512; ++i) directory[i] = gigabyte << 30 | i << 21 | 0x87;
        boot_pdpt[gigabyte] = (uint64_t)directory | 7;
    }
}

enum { kDebugExitPort = 0xf4 };

static void access_port(uint16_t port, uint32_t value, unsigned kind) {
    if (port <= kDebugExitPort && port + 4 > kDebugExitPort) return;  // not yet
    switch (kind % 6) {
        case 0: out8(port, (uint8_t)value); break;
        case 1: out16(port, (uint16_t)value); break;
        case 2: out32(port, value); break;
        case 3: in8(port); break;
        case 4: in16(port); break;
        default: in32(port); break;
    }
}

static void access_memory(uint64_t address, uint64_t value, unsigned kind) {
    if (address >= 0xff000 && address < 0x200000) return;  // this guest itself
    switch (kind % 8) {
        case 0: *(volatile uint8_t*)address = (uint8_t)value; break;
        case 1: *(volatile uint16_t*)address = (uint16_t)value; break;
        case 2: *(volatile uint32_t*)address = (uint32_t)value; break;
        case 3: *(volatile uint64_t*)address = value; break;
        case 4: (void)*(volatile uint8_t*)address; break;
        case 5: (void)*(volatile uint16_t*)address; break;
        case 6: (void)*(volatile uint32_t*)address; break;
        default: (void)*(volatile uint64_t*)address; break;
    }
}

// RDMSR and WRMSR are two bytes long: what the processor refuses is passed over.
static void pass_over(struct InterruptFrame* frame) { frame->ip += 2; }

static void access_msr(uint32_t index, uint64_t value, bool write) {
    if (index == MSR_EFER) return;  // long mode itself
    if (write) {
        write_msr(index, value);
    } else {
        read_msr(index);
    }
}

int guest_main(void) {
    serial_open();
    print("wild: begins\n");
    const unsigned long count = command_line_number("count", 20000);
    const bool ports = command_line_number("ports", 1), memory = command_line_number("memory", 1),
               msrs = command_line_number("msrs", 1);
    state = command_line_number("seed", 1) * 0x9e3779b97f4a7c15 | 1;
    interrupts_install();
    interrupt_handle(kGeneralProtection, pass_over);
    if (memory) map_four_gigabytes();
    if (msrs) {
        static const uint32_t bases[] = {0,     0x10,  0x170, 0x1d9,      0x200,     0x250,
                                         0x277, 0x400, 0x800, 0xc0000080, 0xc0010000};
        for (unsigned long i = 0; i < count / 8; ++i) {
            const uint64_t random = next_random();
            const uint32_t base = bases[random % (sizeof bases / sizeof *bases)];
            access_msr(base + (random >> 8) % 16, next_random(), random >> 16 & 1);
        }
    }
    if (memory) {
        for (unsigned long i = 0; i < count; ++i) {
            const uint64_t random = next_random();
            // A quarter of them near the screen and the BIOS, where the devices are.
            const uint64_t address = random % 4 == 0 ? 0xa0000 + (random >> 32) % 0x60000 : random >> 32;
            access_memory(address, next_random(), random >> 8 & 7);
        }
    }
    if (ports) {
        for (unsigned port = 0; port < 0x10000; ++port) access_port((uint16_t)port, 0, 3);
        for (unsigned long i = 0; i < count; ++i) {
            const uint64_t random = next_random();
            access_port((uint16_t)(random % 2 ? random >> 48 : random >> 48 & 0x3ff), (uint32_t)next_random(),
                        random >> 8 & 7);
        }
    }
    guest_exit(0);
}
