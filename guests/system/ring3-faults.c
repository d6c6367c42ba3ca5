// Exceptions of ring-3 code in 64-bit mode, each handled at ring 0 and the code carried on. The instructions are in
// ring3-faults64.S or, for the guest `alignment`, in alignment64.S.
#include "../runtime/cpu.h"
#include "../runtime/faults.h"
#include "window.h"

extern uint64_t boot_gdt_spare[];
extern const char guest_name[];
void raise_user_faults(void);  // at ring 3; ends by INT3 at raise_user_faults_end
extern const char raise_user_faults_end[];

static unsigned char user_stack[4096] __attribute__((aligned(16)));

// The code ends by INT3, which nothing else there uses.
static void finish(struct InterruptFrame* frame) {
    check_equal("ring 3 came to its end", frame->ip, (unsigned long)raise_user_faults_end);
    check_equal("CS", frame->cs, 0x2b);
    check_equal("SS", frame->ss, 0x23);
    faults_finish();
    guest_exit(check_verdict(guest_name));
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    tss_load(kPortsClosed);
    window_open();
    window_map(1, kPresent | kWritable);     // ring 0 only
    window_map(2, kPresent | kUser);         // read only
    boot_gdt_spare[3] = 0x00cf73000000ffff;  // 48h: ring-3 data, not present
    write_cr0(read_cr0() | 1ul << 18);       // AM: EFLAGS.AC checks alignment at ring 3
    faults_watch();
    interrupt_gate(kBreakpoint, 3, 0);
    interrupt_handle(kBreakpoint, finish);
    enter_ring3(raise_user_faults, user_stack + sizeof user_stack, 0x002);
}
