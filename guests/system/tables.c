// Tables that the CPU reads by itself, where few kernels put them: a TSS far above 4 GiB, of which RSP0 and a word of
// the I/O permission bitmap lie across two pages, needed while a 32-bit program runs; and a GDT whose limit reaches
// beyond the last canonical address.
#include "../runtime/check.h"
#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"

extern uint64_t boot_pml4[512], boot_gdt[16], boot_gdt_spare[];
_Noreturn void enter_program(void);  // tables64.S: INT 30h; IN EAX, 7CFFh; INT 31h
// Each goes on behind itself after a fault, for which handle_fault() looks at RBX.
uint64_t load_or_fault(const volatile void* address);
void verify_or_fault(uint16_t selector);

#define kTables 0xffff800000000000ul  // the first canonical address of the upper half, and so the first beyond ...
#define kLastPage 0x7ffffffff000ul    // ... the lower half, of which this is the last page
#define kTss (kTables + 0xff8)        // RSP0 is at 4, so its upper half lies in the next page
#define kStack (kTables + 0x20000)
enum { kBitmap = 0x68, kPort = 0x7cff, kCode32 = 0x1b, kTssSelector = 0x30 };

static uint64_t upper_pdpt[512] __attribute__((aligned(4096))), upper_directory[512] __attribute__((aligned(4096)));
static uint64_t lower_pdpt[512] __attribute__((aligned(4096))), lower_directory[512] __attribute__((aligned(4096)));
static volatile unsigned faults;

static void handle_fault(struct InterruptFrame* frame) {
    ++faults;
    frame->ip = (frame->cs & 0xffff) == kCode32 ? frame->ip + 1 : frame->bx;  // IN EAX, DX is one byte
}

static void handle_first(struct InterruptFrame* frame) {
    check_equal("INT 30h comes from 32-bit code", frame->cs & 0xffff, kCode32);
    check_equal("its frame is where RSP0 says, which lies across two pages", (unsigned long)(&frame->ss + 1), kStack);
}

static void test_last_page(void) {
    uint64_t* const gdt = (uint64_t*)kLastPage;
    for (unsigned i = 0; i < 16; ++i) gdt[i] = boot_gdt[i];
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) everything = {0xffff, kLastPage};
    __asm__ volatile("lgdt %0" : : "m"(everything));
    const void* const beyond = (void*)(kLastPage + 0x1008);

    faults = 0;
    (void)load_or_fault(beyond);
    check_equal("a load from beyond the lower half faults", faults, 1);
    faults = 0;
    verify_or_fault(0x1008);
    check_equal("so does VERR of a descriptor there", faults, 1);
    faults = 0;
    for (unsigned i = 0; i < 8; ++i) (void)load_or_fault(beyond);
    check_equal("and every load after it", faults, 8);
}

static void handle_second(struct InterruptFrame* frame) {
    (void)frame;
    check_equal("IN was permitted, by a bitmap that goes on in the next page", faults, 0);
    test_last_page();
    guest_exit((unsigned)check_verdict("tables"));
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    interrupt_gate(0x30, 3, 0);
    interrupt_gate(0x31, 3, 0);
    interrupt_handle(0x30, handle_first);
    interrupt_handle(0x31, handle_second);
    interrupt_handle(kGeneralProtection, handle_fault);

    upper_directory[0] = 0x800000 | 0x83;
    upper_pdpt[0] = (uint64_t)upper_directory | 3;
    boot_pml4[256] = (uint64_t)upper_pdpt | 3;
    lower_directory[511] = 0xa00000 | 0x83;
    lower_pdpt[511] = (uint64_t)lower_directory | 3;
    boot_pml4[255] = (uint64_t)lower_pdpt | 3;
    write_cr3(read_cr3());

    *(volatile uint64_t*)(kTss + 4) = kStack;
    *(volatile uint16_t*)(kTss + 0x66) = kBitmap;  // all zeros: every port is permitted
    // What would be read if the next page were taken for that of a 32-bit address.
    *(volatile uint32_t*)0x1000 = 0xffffffff;
    *(volatile uint32_t*)0x2000 = 0xffffffff;
    const uint64_t base = kTss, limit = kBitmap + 0x2000;
    boot_gdt_spare[0] =
        (limit & 0xffff) | (base & 0xffffff) << 16 | 0x89ull << 40 | (limit >> 16) << 48 | (base >> 24 & 0xff) << 56;
    boot_gdt_spare[1] = base >> 32;
    __asm__ volatile("ltr %0" : : "r"((uint16_t)kTssSelector));
    enter_program();
}
