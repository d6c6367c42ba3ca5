// Generated system-level cases: what the guests `cases32` (protected and virtual-8086 mode) and `cases64` (long mode)
// share.
//
// A case is a few instructions that run at some ring, in some mode, amid descriptor tables that are made up anew for
// each. It ends with an exception: everything that can be reached is full of INT3. What the CPU then looks like, and
// what changed in memory, is printed. Two machines that both are right print the same.
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
    kWindow = 0x800000,        // pages of all kinds: see make_pages()
    kWindowFrames = 0x300000,  // behind them
    kWindowFrameCount = 16,
    kLowBytes = 0x9f000,  // of low memory, full of INT3 as well: where code with 16-bit offsets runs
};

// Selectors that every case has, in both guests.
enum {
    kKernelCode = 0x08,
    kKernelData = 0x10,
    kRingCode = 0x18,  // of ring 1; 10h further on ring 2, 20h ring 3
    kRingData = 0x20,
    kMainTask = 0x48,
    kLdtSelector = 0x58,
    kGdtEntries = 64,
    kLdtEntries = 16,
    kIdtEntries = 0x60,
    kFirstMadeGate = 0x40,  // vectors
    kMadeTasks = 4,
};

// A selector with a fitting RPL of code or data at this ring.
static inline uint32_t ring_code(unsigned ring) {
    return ring == 0 ? kKernelCode : (kRingCode + 0x10 * (ring - 1)) | ring;
}
static inline uint32_t ring_data(unsigned ring) {
    return ring == 0 ? kKernelData : (kRingData + 0x10 * (ring - 1)) | ring;
}

static inline volatile uint32_t* word_at(unsigned long address) { return (volatile uint32_t*)address; }

// --- chance

uint32_t chance(void);
static inline uint32_t below(uint32_t bound) { return chance() % bound; }
static inline bool one_in(uint32_t n) { return below(n) == 0; }

// --- descriptors (SDM volume 3, figures 3-8, 5-8 and 6-2)

enum { kFlat = 0xfffff, kLong = 2, kBig = 4, kPages = 8, kAccessed = 1, kSegment = 0x10 };

static inline uint64_t segment(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags) {
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(access & 0xff) << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}
static inline uint64_t gate(uint32_t selector, uint32_t offset, uint32_t access, uint32_t parameters) {
    return (offset & 0xffff) | (uint64_t)(selector & 0xffff) << 16 | (uint64_t)parameters << 32 |
           (uint64_t)(access & 0xff) << 40 | (uint64_t)(offset >> 16) << 48;
}
static inline void put(unsigned long table, uint32_t offset, uint64_t descriptor) {
    *(volatile uint64_t*)(table + (offset & ~7u)) = descriptor;
}
// Access rights of this type: mostly present, of any DPL.
static inline uint32_t made_rights(uint32_t type) { return (one_in(8) ? 0 : 0x80) | below(4) << 5 | type; }
uint64_t made_data_segment(void);

// --- instructions: where the next byte goes, and what puts it there

extern unsigned long code_at;
static inline void byte(uint32_t value) { *(volatile uint8_t*)code_at++ = (uint8_t)value; }
static inline void word(uint32_t value) { byte(value), byte(value >> 8); }
static inline void dword(uint32_t value) { word(value), word(value >> 16); }
static inline void bytes2(uint32_t first, uint32_t second) { byte(first), byte(second); }
static inline uint32_t modrm(uint32_t mode, uint32_t reg, uint32_t rm) { return mode << 6 | reg << 3 | rm; }

// --- what is printed

void print_number(const char* name, unsigned long value);
// The descriptor that an error code names, as it was before the case: for whoever has to find out why.
void print_descriptor(unsigned long error_code);
// Keeps the arena as it is, and later prints each word that has changed since, and a sum of the window's frames.
void remember_arena(void);
void print_changes(void);

// --- the machine before a case

void fill_with_int3(unsigned long to, uint32_t bytes);
void write_debug_registers(void);  // none of them enabled
unsigned long read_debug6(void);

// --- what each guest has of its own

void make_pages(void);           // once
void run_case(uint32_t number);  // makes, runs and prints it
