// What an idle operating system does: halts, is woken by the timer, and halts again, for ever.
#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"
#include "../runtime/timer.h"

static void tick(struct InterruptFrame* frame) {
    (void)frame;
    timer_end_of_interrupt();
}

int guest_main(void) {
    interrupts_install();
    interrupt_handle(kTimerVector, tick);
    timer_start(100);
    for (;;) wait_for_interrupt();
}
