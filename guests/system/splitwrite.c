// A write across two pages, the second of which is not there: it must not write its first half before the fault. (The
// instruction emulator of Linux's KVM, which runs ring 0 on kvm_pvm hosts, does.)
#include "window.h"

static void across_two_pages(void) {
    uint64_t* word = (uint64_t*)(window_page(5) - 4);  // the upper half is in page 5
    *(volatile uint64_t*)(window_frames[5] - 8) = 0x1111111111111111;
    window_map(4, kPresent | kWritable);
    window_map(5, 0);
    window_expect(5, kPresent | kWritable);
    *(volatile uint64_t*)word = 0x8877665544332211;
    window_check_fault("8-byte write, its second half in a page that is not there", kErrorWrite, window_page(5));
    check_equal("  nothing of it written before the fault", window_seen.word, 0x1111111111111111);
    check_equal("  first half after it", frame_word32(5, -4), 0x44332211);
    check_equal("  second half after it", frame_word32(5, 0), 0x88776655);
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    window_open();
    across_two_pages();
    return check_verdict("splitwrite");
}
