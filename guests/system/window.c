// The window of pages that guests make page faults with: see window.h.
#include "window.h"

extern uint64_t boot_pdpt[512];

volatile uint64_t window_pd[512] __attribute__((aligned(4096)));
volatile uint64_t window_pt[512] __attribute__((aligned(4096)));
volatile uint8_t window_frames[kWindowPages][kPageSize] __attribute__((aligned(4096)));
volatile struct FaultSeen window_seen;

static volatile struct {
    unsigned page;
    uint64_t bits;
} repair;

void window_open(void) {
    window_pd[0] = (uint64_t)window_pt | kPresent | kWritable | kUser;
    boot_pdpt[1] = (uint64_t)window_pd | kPresent | kWritable | kUser;
    interrupt_handle(kPageFault, window_page_fault);
}

void window_map(unsigned page, uint64_t bits) {
    window_pt[page] = (uint64_t)window_frames[page] | bits;
    invalidate_page(window_page(page));
}

void window_page_fault(struct InterruptFrame* frame) {
    ++window_seen.count;
    window_seen.error_code = frame->error_code;
    window_seen.address = read_cr2();
    window_seen.ip = frame->ip;
    if (repair.page != 0) window_seen.word = frame_word64(repair.page, -8);
    window_map(repair.page, repair.bits);
}

void window_expect(unsigned page, uint64_t bits) {
    window_seen.count = 0;
    repair.page = page;
    repair.bits = bits;
}

void window_check_fault(const char* what, unsigned long error_code, const volatile void* address) {
    print(what);
    print("\n");
    check_equal("  one fault", window_seen.count, 1);
    check_equal("  its error code", window_seen.error_code, error_code);
    check_equal("  its CR2", window_seen.address, (unsigned long)address);
}
