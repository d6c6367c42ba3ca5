// The PC's interval timer and interrupt controllers: see timer.h.
#include "timer.h"

#include "ports.h"

enum { kMasterCommand = 0x20, kMasterData = 0x21, kSlaveCommand = 0xa0, kSlaveData = 0xa1 };
enum { kCounter0 = 0x40, kPitControl = 0x43, kPitHertz = 1193182 };

void timer_start(unsigned hertz) {
    // Initialization command words (Intel 8259A data sheet, "Initialization Command Words").
    out8(kMasterCommand, 0x11);  // ICW1: edge triggered, cascaded, ICW4 follows
    out8(kSlaveCommand, 0x11);
    out8(kMasterData, kTimerVector);  // ICW2: the vector of the first line
    out8(kSlaveData, kTimerVector + 8);
    out8(kMasterData, 1 << 2);  // ICW3: the slave is at line 2
    out8(kSlaveData, 2);
    out8(kMasterData, 0x01);  // ICW4: 8086 mode, end of interrupt by command
    out8(kSlaveData, 0x01);
    out8(kMasterData, 0xfe);  // mask: only line 0
    out8(kSlaveData, 0xff);

    const unsigned divisor = kPitHertz / hertz;
    out8(kPitControl,
         0x34);  // counter 0, low byte then high byte, mode 2 (Intel 8254 data sheet, "Control Word Format")
    out8(kCounter0, (uint8_t)divisor);
    out8(kCounter0, (uint8_t)(divisor >> 8));
}

void timer_end_of_interrupt(void) { out8(kMasterCommand, 0x20); }
