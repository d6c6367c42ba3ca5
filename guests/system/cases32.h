// The guest `cases32`: generated cases in 32-bit protected mode and virtual-8086 mode (cases.h).
#pragma once

#include "cases.h"

// Beside those of cases.h; those from kFirstMade on are made up.
enum {
    kDoubleFaultTask = 0x50,
    kFirstMade = 0x60,
    kWindowPages = kWindowFrameCount,
};

// --- the world of a case (cases32_world.c)

void make_world(void);  // for each case
uint32_t made_selector(void);
uint32_t made_code_offset(void);
uint32_t made_flags(void);

// --- a case (cases32.c, and cases32_code.c for its instructions)

enum { kVirtual8086 = 4 };  // in the place of a ring

// What enter_case() loads and the entries of interrupts store; cases32.S knows the order.
struct CaseRegisters {
    uint32_t ax, cx, dx, bx, sp, bp, si, di;
    uint32_t ip, cs, flags, ss, ds, es, fs, gs;
    uint32_t vector, error_code;
};
extern struct CaseRegisters case_registers;
// Runs what case_registers says; back when an exception has ended it.
void enter_case(void);

// Writes a case's instructions to kEntry and gives their number of bytes; `kind` says what they are about.
unsigned make_code(unsigned ring, const char** kind);
