// The guest `cases64`: generated cases in long mode, 64-bit code and compatibility mode (cases.h).
#pragma once

#include "cases.h"

// Beside those of cases.h; those from kFirstMade on are made up. The task and the LDT take two entries each.
enum {
    kCompatibilityCode = 0x68,  // of ring 0; 8 further on that of ring 1
    kFirstMade = 0x88,
    kWindowViews = 8,   // of the same pages, 2 MiB apart
    kWindowPages = 32,  // of each view, two for each frame
};
static inline uint32_t compatibility_code(unsigned ring) { return (kCompatibilityCode + 8 * ring) | ring; }

// All of the first 4 MiB is here, too, and for the supervisor only: where SMEP and SMAP let it be.
#define kHigh 0xffff800000000000ul
#define kHole 0x0000800000000000ul  // the first address that is not canonical

// --- the world of a case (cases64_world.c)

void make_world(void);  // for each case
uint32_t made_selector(void);
uint64_t made_code_address(void);
uint64_t made_flags(void);
// One that is not canonical.
uint64_t made_hole_address(void);
// For RSP: mostly in the stacks, here and there nowhere, or not aligned.
uint64_t made_stack_address(void);
// A bit for each page of the window that has been written to. (Accessed bits of a walk that ends with a fault are the
// CPU's own affair: SDM volume 3, section 4.8.)
uint32_t window_dirty_pages(void);

// --- a case (cases64.c)

// Where and how a case begins.
struct Mode {
    unsigned ring;
    bool compatibility;  // mode: 32-bit code
    uint64_t base;       // 0 or kHigh: where its code, stack and data are
};
extern struct Mode mode;

// What enter_case() loads and the entries of interrupts store; cases64.S knows the order.
struct CaseRegisters {
    uint64_t ax, cx, dx, bx, sp, bp, si, di, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t ip, cs, flags, ss, ds, es, fs, gs;
    uint64_t fs_base, gs_base, kernel_gs_base, cr0, cr4;
    uint64_t vector, error_code, handler_sp;
};
extern struct CaseRegisters case_registers;
// Runs what case_registers says; back when an exception has ended it.
void enter_case(void);

// --- its instructions (cases64_transfers.c, cases64_system.c)

enum Size { kSize16, kSize32, kSize64 };
// An operand size by chance, and its prefix; kSize64 in 64-bit code only.
enum Size size_prefix(void);
// reg, [(R)SI + offset]: RSI points at the case's data.
void data_operand(uint32_t reg, uint32_t offset);
static inline volatile uint64_t* data_at(uint32_t offset) {
    return (volatile uint64_t*)(unsigned long)(kData + offset);
}

struct Kind {
    const char* name;
    void (*make)(void);
};
// Far jumps, calls and returns, interrupts, system calls.
extern const struct Kind kTransferKinds[];
extern const unsigned kTransferKindCount;
// Segment, table, control and debug registers, MSRs, flags, memory.
extern const struct Kind kSystemKinds[];
extern const unsigned kSystemKindCount;
