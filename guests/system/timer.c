// Timer interrupts, counted in HLT and in a busy loop: -append "size=TICKS".
#include "../runtime/timer.h"

#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"

static volatile unsigned long ticks;
static unsigned long size;

static void tick(struct InterruptFrame* frame) {
    (void)frame;
    // On a host that was busy elsewhere, one more may be due before the loop looks again.
    if (ticks < size) ++ticks;
    timer_end_of_interrupt();
}

static void report(const char* where) {
    print_decimal(ticks);
    print(" ticks in ");
    print(where);
    print("\n");
}

int guest_main(void) {
    serial_open();
    size = command_line_number("size", 20);
    interrupts_install();
    interrupt_handle(kTimerVector, tick);
    timer_start(1000);

    // Between the check and HLT no tick may be lost: interrupts stay off until HLT itself.
    while (ticks < size) {
        wait_for_interrupt();
        interrupts_off();
    }
    report("HLT");

    ticks = 0;
    interrupts_on();
    while (ticks < size) {
    }
    interrupts_off();
    report("a busy loop");
    return 0;
}
