// Interrupts and exceptions, in 32- and 64-bit guests: one table of C handlers behind one IDT.
#pragma once

#include "guest.h"

// What the entry code of runtime/interrupts32.S and interrupts64.S leaves on the stack, lowest address first. A handler
// may change it: the interrupted code goes on with what is here then.
struct InterruptFrame {
#ifdef __x86_64__
    unsigned long r15, r14, r13, r12, r11, r10, r9, r8;
#endif
    unsigned long di, si, bp, bx, dx, cx, ax;
    unsigned long vector;
    unsigned long error_code;  // 0 where the exception has none
    // Pushed by the processor. In 32-bit mode sp and ss are here only when the interrupt came from an outer ring.
    unsigned long ip, cs, flags, sp, ss;
};

typedef void (*InterruptHandler)(struct InterruptFrame* frame);

enum {
    kDivideError = 0,
    kDebug = 1,
    kBreakpoint = 3,
    kOverflow = 4,
    kBoundRange = 5,
    kInvalidOpcode = 6,
    kDeviceNotAvailable = 7,
    kDoubleFault = 8,
    kInvalidTss = 10,
    kSegmentNotPresent = 11,
    kStackFault = 12,
    kGeneralProtection = 13,
    kPageFault = 14,
    kX87Error = 16,
    kAlignmentCheck = 17,
    kSimdError = 19,
};

// Builds and loads an IDT with interrupt gates for vectors 0 to 63. A vector without a handler of its own prints what
// happened and ends the guest with failure.
void interrupts_install(void);
void interrupt_handle(unsigned vector, InterruptHandler handler);
// Changes a vector's gate: from which ring INT n may name it and, in 64-bit mode, on which of the TSS's stacks it runs.
void interrupt_gate(unsigned vector, unsigned privilege, unsigned stack_index);
void interrupt_gate_set_present(unsigned vector, bool present);
void interrupt_gate_remove(unsigned vector);

// Loads a TSS whose ring-0 stack is a small one of its own; in 64-bit mode, IST 1 is another. Its I/O permission map
// opens all ports to ring 3, or none.
enum Ports { kPortsClosed, kPortsOpen };
void tss_load(enum Ports ports);

#ifdef __x86_64__
// Goes to ring 3: never comes back but by an interrupt, an exception or SYSCALL. `flags` becomes RFLAGS.
_Noreturn void enter_ring3(void (*code)(void), void* stack_top, unsigned long flags);
#endif
