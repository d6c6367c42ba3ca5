// Compatibility mode across the 4 GiB line, by segments whose base lies just below it: a linear address is 32 bits wide
// there, and what follows FFFFFFFFh is 0 (SDM vol. 1, 3.3.7: bits 63-32 are zero). What lies at 4 GiB is mapped, too,
// so that who goes there is not stopped by a fault.
#include "../runtime/check.h"
#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"

extern uint64_t boot_pdpt[512], boot_pd[512], boot_gdt_spare[];
// wraparound64.S. They go to 32-bit code at ring 0 and come back.
void store_across(void);        // MASKMOVQ of eight bytes of ones to FS:4
uint32_t execute_across(void);  // MOV EBX, imm32 with two bytes below the line; gives EBX
extern uint64_t way_back;

enum { kBelow = 0x800000, kFirst = 0x900000, kOther = 0x901000, kBeyond = 0x902000, kRights = 3 };

static uint64_t at_0[512] __attribute__((aligned(4096))), at_3_gib[512] __attribute__((aligned(4096)));
static uint64_t at_4_gib[512] __attribute__((aligned(4096))), tables_at_4_gib[512] __attribute__((aligned(4096)));
static uint64_t last_pages[512] __attribute__((aligned(4096)));

// The rest of MOV EBX, imm32, and JMP FAR [way_back].
static void put_rest(volatile uint8_t* at, uint8_t value) {
    static const uint8_t jump[] = {0xff, 0x2d};
    at[0] = value;
    at[1] = at[2] = 0;
    at[3] = jump[0];
    at[4] = jump[1];
    for (unsigned i = 0; i < 4; ++i) at[5 + i] = (uint8_t)((uint64_t)&way_back >> 8 * i);
}

static uint64_t descriptor(uint64_t rights, uint64_t base) {
    return 0x00c000000000ffff | 0xfull << 48 | rights << 40 | (base & 0xffffff) << 16 | (base >> 24) << 56;
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    for (unsigned i = 0; i < 512; ++i) {
        at_0[i] = (uint64_t)i << 12 | kRights;
        last_pages[i] = kBelow | kRights;
        at_4_gib[i] = kBeyond | kRights;
    }
    at_0[0] = kFirst | kRights;
    boot_pd[0] = (uint64_t)at_0 | kRights;
    at_3_gib[511] = (uint64_t)last_pages | kRights;
    boot_pdpt[3] = (uint64_t)at_3_gib | kRights;
    tables_at_4_gib[0] = (uint64_t)at_4_gib | kRights;
    boot_pdpt[4] = (uint64_t)tables_at_4_gib | kRights;
    write_cr3(read_cr3());
    boot_gdt_spare[2] = descriptor(0x9b, 0);           // 40h: 32-bit code
    boot_gdt_spare[3] = descriptor(0x93, 0xfffffff8);  // 48h: data
    boot_gdt_spare[4] = descriptor(0x9b, 0xfffff000);  // 50h: 32-bit code

    store_across();
    check_equal("MASKMOVQ: four bytes below the line", *(volatile uint32_t*)(kBelow + 0xffc), 0xffffffff);
    check_equal("and four from 0 on", *(volatile uint32_t*)kFirst, 0xffffffff);
    check_equal("none at 4 GiB", *(volatile uint32_t*)kBeyond, 0);

    *(volatile uint8_t*)(kBelow + 0xffe) = 0xbb;
    *(volatile uint8_t*)(kBelow + 0xfff) = 0;
    put_rest((volatile uint8_t*)kFirst, 1);
    put_rest((volatile uint8_t*)kOther, 2);
    // At 4 GiB there is now what was at 0.
    for (unsigned i = 0; i < 512; ++i) at_4_gib[i] = kFirst | kRights;
    write_cr3(read_cr3());
    check_equal("code that goes on at 0", execute_across(), 0x100);
    check_equal("and again", execute_across(), 0x100);
    ((volatile uint64_t*)at_0)[0] = kOther | kRights;
    invalidate_page((void*)0);
    check_equal("after the page at 0 is another one", execute_across(), 0x200);
    return check_verdict("wraparound");
}
