// A page fault for a reserved bit in a paging-structure entry. (QEMU 7.2's TCG gives 8 as its error code. Intel SDM
// volume 3, section 4.7: bit 3 comes only together with bit 0, so it is 9.)
#include "window.h"

// Here the entry at fault is not the window's page table but the directory above it.
static void reserved_bit_repair(struct InterruptFrame* frame) {
    window_page_fault(frame);
    window_pd[1] = (2ul << 20) | kPresent | kLargePage;
    invalidate_page((void*)(kWindow + (2 << 20)));
}

static void reserved_bit(void) {
    // Bits 13 to 20 of an entry for a 2 MiB page are reserved on every processor.
    volatile uint32_t* word = (volatile uint32_t*)(kWindow + (2 << 20));
    window_pd[1] = kPresent | kLargePage | 1ul << 13;
    window_expect(7, kPresent);
    interrupt_handle(kPageFault, reserved_bit_repair);
    const uint32_t value = *word;
    interrupt_handle(kPageFault, window_page_fault);
    window_check_fault("read through an entry with a reserved bit set", kErrorPresent | kErrorReserved,
                       (const void*)word);
    check_equal("  the value read after it", value, *(volatile uint32_t*)(2ul << 20));
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    window_open();
    reserved_bit();
    return check_verdict("reservedbit");
}
