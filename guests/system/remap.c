// A page that becomes another one between two instructions of a function: until INVLPG the CPU may go on with either
// (SDM vol. 3A, 4.10.4), after it only with what the table says then. Half of the function is executed before the table
// changes and the other half for the first time in between.
#include "../runtime/check.h"
#include "../runtime/cpu.h"

extern uint64_t boot_pd[512];

enum { kWindow = 0x600000, kPage = 0x800000, kOther = 0x801000, kElsewhere = 0x802000, kRights = 3 };

static uint64_t table[512] __attribute__((aligned(4096)));

// uint32_t function(uint32_t first_half): gives 9 from its first half, and `answer` from the second.
static void put_function(unsigned long at, uint8_t answer) {
    static const uint8_t first_half[] = {0x85, 0xff, 0x74, 0x7c,  // test edi, edi; jz 80h
                                         0xb8, 9,    0,    0,    0, 0xc3};
    const uint8_t second_half[] = {0xb8, answer, 0, 0, 0, 0xc3};
    volatile uint8_t* const page = (volatile uint8_t*)at;
    for (unsigned i = 0; i < sizeof first_half; ++i) page[i] = first_half[i];
    for (unsigned i = 0; i < sizeof second_half; ++i) page[0x80 + i] = second_half[i];
}

// At the end of a page, two entries to one function that gives 9 too; with 0 it goes on with the function at the
// beginning of the next page, from the first entry by a jump, from the second by going on.
enum { kJumpsOn = 0xff0, kRunsOn = 0xffc };
static void put_edge(unsigned long at) {
    static const uint8_t code[] = {0x85, 0xff, 0x74, 0x0c,               // test edi, edi; jz 1000h
                                   0xb8, 9,    0,    0,    0,    0xc3,   // mov eax, 9; ret
                                   0x90, 0x90, 0x85, 0xff, 0x75, 0xf4};  // test edi, edi; jnz to the mov
    volatile uint8_t* const edge = (volatile uint8_t*)(at + kJumpsOn);
    for (unsigned i = 0; i < sizeof code; ++i) edge[i] = code[i];
}

static uint32_t call(unsigned long at, uint32_t first_half) { return ((uint32_t(*)(uint32_t))at)(first_half); }

static void set_page(uint64_t page) { ((volatile uint64_t*)table)[0] = page | kRights; }
static void set_next_page(uint64_t page) {
    ((volatile uint64_t*)table)[1] = page | kRights;
    invalidate_page((void*)(kWindow + 0x1000));
}

// Both ways of a branch are gone; then the page at the end of one becomes another, and the other way is gone first.
static uint32_t after_the_other_way(unsigned long entry) {
    set_next_page(kOther);
    for (unsigned i = 0; i < 3; ++i) (void)call(kWindow + entry, i % 2);
    set_next_page(kElsewhere);
    return call(kWindow + entry, 1) == 9 ? call(kWindow + entry, 0) : 0;
}

int guest_main(void) {
    serial_open();
    put_function(kPage, 1);
    put_edge(kPage);
    put_function(kOther, 2);
    put_function(kElsewhere, 3);
    for (unsigned i = 1; i < 512; ++i) table[i] = kElsewhere | kRights;
    set_page(kPage);
    boot_pd[kWindow >> 21] = (uint64_t)table | kRights;
    write_cr3(read_cr3());

    // And pages at distances at which a cache of translations may have room for one of them only.
    for (unsigned i = 0; i < 3; ++i) (void)call(kWindow, 1);
    for (unsigned distance = 256; distance >= 64; distance /= 2) (void)call(kWindow + 4096ul * distance, 1);
    set_page(kOther);
    const uint32_t between = call(kWindow, 0);
    check("before INVLPG: the one page or the other", between == 1 || between == 2);
    set_page(kPage);
    invalidate_page((void*)kWindow);
    check_equal("after INVLPG: what the table says", call(kWindow, 0), 1);
    set_page(kOther);
    write_cr3(read_cr3());
    check_equal("after MOV CR3: the same", call(kWindow, 0), 2);

    set_page(kPage);
    write_cr3(read_cr3());
    check_equal("a jump to the next page, after its other way", after_the_other_way(kJumpsOn), 3);
    check_equal("the way into the next page, after the jump", after_the_other_way(kRunsOn), 3);
    return check_verdict("remap");
}
