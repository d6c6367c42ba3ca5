// A window of eight 4 KiB pages at 1 GiB, whose page-table entries a guest sets as it likes (64-bit mode), and a
// page-fault handler that repairs them and notes what it saw.
#pragma once

#include "../runtime/check.h"
#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"

// Page-table entry bits (Intel SDM volume 3, section 4.5.4) and #PF error-code bits (section 4.7).
#define kPresent 0x001ul
#define kWritable 0x002ul
#define kUser 0x004ul
#define kAccessed 0x020ul
#define kDirty 0x040ul
#define kLargePage 0x080ul
#define kNoExecute (1ul << 63)
enum { kErrorPresent = 1, kErrorWrite = 2, kErrorUser = 4, kErrorReserved = 8, kErrorFetch = 16 };

enum { kWindowPages = 8, kPageSize = 4096 };
#define kWindow 0x40000000ul

extern volatile uint64_t window_pd[512], window_pt[512];
extern volatile uint8_t window_frames[kWindowPages][kPageSize];  // what the window's pages show

// Puts the window into the page tables, with no page in it, and the handler below into the IDT.
void window_open(void);
static inline uint8_t* window_page(unsigned page) { return (uint8_t*)(kWindow + page * kPageSize); }
// Maps a page of the window to its frame with these entry bits.
void window_map(unsigned page, uint64_t bits);
// The naturally aligned 64- or 32-bit word at `offset` of a frame, past the window's mapping.
static inline uint64_t frame_word64(unsigned page, int offset) {
    return *(volatile uint64_t*)(window_frames[page] + offset);
}
static inline uint32_t frame_word32(unsigned page, int offset) {
    return *(volatile uint32_t*)(window_frames[page] + offset);
}

// What the handler does about the next fault: window_map(page, bits).
void window_expect(unsigned page, uint64_t bits);
// What it saw.
extern volatile struct FaultSeen {
    unsigned long count, error_code, address, ip;
    uint64_t word;  // the 8 bytes in front of the page that was repaired, at the time of the fault
} window_seen;
// The handler itself, for guests that put their own around it.
void window_page_fault(struct InterruptFrame* frame);
// Checks that there was one fault, and what it was.
void window_check_fault(const char* what, unsigned long error_code, const volatile void* address);
