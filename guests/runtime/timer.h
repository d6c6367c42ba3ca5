// The PC's interval timer and interrupt controllers, as a guest programs them.
#pragma once

#include "guest.h"

enum { kTimerVector = 0x20 };  // where timer_start() puts IRQ 0

// Programs both 8259A controllers (IRQ 0 to 15 become vectors 20h to 2Fh, all but IRQ 0 masked) and the 8254's
// counter 0 (mode 2, `hertz` interrupts a second).
void timer_start(unsigned hertz);
// Tells the controller that the timer's interrupt has been served.
void timer_end_of_interrupt(void);
