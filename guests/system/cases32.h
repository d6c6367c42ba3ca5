// Generated system-level cases in 32-bit protected mode: what the parts of the guest `cases32` share.
//
// A case is a few instructions that run at some ring, or in virtual-8086 mode, amid descriptor tables that are made up
// anew for each. It ends with an exception: everything that can be reached is full of INT3. What the CPU then looks
// like, and what changed in memory, is printed. Two machines that both are right print the same.
#pragma once

#include "../runtime/guest.h"

// --- where things lie

enum {
    kArena = 0x200000,
    kCode = kArena,  // 64 KiB of INT3, the case's own instructions at kEntry
    kEntry = kCode + 0x8000,
    kStacks = kArena + 0x10000,  // 64 KiB
    kStackOfCase = kStacks + 0x8000,
    kData = kArena + 0x20000,  // 4 KiB
    kGdt = kArena + 0x21000,
    kLdt = kArena + 0x22000,
    kIdt = kArena + 0x23000,
    kTasks = kArena + 0x24000,  // TSSs, 100h apart
    kArenaBytes = 0x25000,
    kWindow = 0x800000,  // pages of all kinds: see make_pages()
    kWindowPages = 16,
    kWindowFrames = 0x300000,  // behind them
    kLowBytes = 0x9f000,       // of low memory, full of INT3 as well: where virtual-8086 programs run
};

// Selectors that every case has; those from kFirstMade on are made up.
enum {
    kKernelCode = 0x08,
    kKernelData = 0x10,
    kRingCode = 0x18,  // of ring 1; 10h further on ring 2, 20h ring 3
    kRingData = 0x20,
    kMainTask = 0x48,
    kDoubleFaultTask = 0x50,
    kLdtSelector = 0x58,
    kFirstMade = 0x60,
    kGdtEntries = 64,
    kLdtEntries = 16,
    kIdtEntries = 0x60,
    kFirstMadeGate = 0x40,  // vectors
    kMadeTasks = 4,
};

// --- chance

uint32_t chance(void);
static inline uint32_t below(uint32_t bound) { return chance() % bound; }
static inline bool one_in(uint32_t n) { return below(n) == 0; }

// --- the world of a case (cases32_world.c)

void make_pages(void);  // once
void make_world(void);  // for each case
uint32_t made_selector(void);
uint32_t made_code_offset(void);
uint32_t made_flags(void);
// A selector with a fitting RPL of code or data at this ring.
static inline uint32_t ring_code(unsigned ring) {
    return ring == 0 ? kKernelCode : (kRingCode + 0x10 * (ring - 1)) | ring;
}
static inline uint32_t ring_data(unsigned ring) {
    return ring == 0 ? kKernelData : (kRingData + 0x10 * (ring - 1)) | ring;
}

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

static inline volatile uint32_t* word_at(uint32_t address) { return (volatile uint32_t*)address; }
