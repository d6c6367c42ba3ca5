// A workload as a guest: -append "ring=0|3 size=N repeat=K".
#include "../runtime/cpu.h"
#include "../runtime/guest.h"
#include "../runtime/interrupts.h"
#include "workload.h"

static unsigned long ring, size, repeat;
static unsigned char user_stack[16384] __attribute__((aligned(16)));

// Ring 3 does this all by itself: the TSS's I/O permission map lets it use the serial port and the debug-exit port.
// (RFLAGS.IOPL = 3 would do as well, but the KVM of some cloud hosts, kvm_pvm, loses it in IRETQ.)
_Noreturn static void run(void) {
    uint64_t checksum = 0;
    // 16 MiB is above the guest and whatever the loader put behind it.
    for (unsigned long i = 0; i < repeat; ++i) checksum = workload.checksum(size, (unsigned char*)(16 << 20));
    print(workload.name);
    print(" ring=");
    print_decimal(ring);
    print(" size=");
    print_decimal(size);
    print(" checksum=");
    if (workload.hexadecimal) {
        print_hex(checksum, 16);
    } else {
        print_decimal(checksum);
    }
    print("\n");
    guest_exit(0);
}

int guest_main(void) {
    serial_open();
    ring = command_line_number("ring", 3);
    size = command_line_number("size", workload.default_size);
    repeat = command_line_number("repeat", 1);
    if ((ring != 0 && ring != 3) || repeat == 0) {
        print("usage: -append \"ring=0|3 size=N repeat=K\", K at least 1\n");
        return 1;
    }
    interrupts_install();
    sse_enable();
    if (ring == 0) run();
    tss_load(kPortsOpen);
    enter_ring3(run, user_stack + sizeof user_stack, 0x002);
}
