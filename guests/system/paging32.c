// 32-bit paging: two levels with a 4 MiB page (CR4.PSE), then PAE with 2 MiB pages and no-execute. Each shows a page at
// two addresses, and faults that are repaired. (On kvm_pvm hosts MOV to CR0 gives #GP here: they have no 32-bit
// paging.)
#include "../runtime/check.h"
#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"

enum {
    kPresent = 1,
    kWritable = 2,
    kUser = 4,
    kAccessed = 0x20,
    kDirty = 0x40,
    kLargePage = 0x80,
};
enum { kErrorPresent = 1, kErrorWrite = 2, kErrorFetch = 16 };
enum { kCr0Paging = 1u << 31 };

// The window: pages at 1 GiB, through a page table of their own. The large page: at 2 GiB, it shows the first memory.
#define kWindow 0x40000000u
#define kLargeWindow 0x80000000u

static volatile uint32_t directory[1024] __attribute__((aligned(4096)));
static volatile uint32_t table[1024] __attribute__((aligned(4096)));
static volatile uint64_t pae_pointers[4] __attribute__((aligned(32)));
static volatile uint64_t pae_directories[4][512] __attribute__((aligned(4096)));
static volatile uint64_t pae_table[512] __attribute__((aligned(4096)));
static volatile uint32_t frames[4][1024] __attribute__((aligned(4096)));

static volatile struct { unsigned long count, error_code, address; } seen;
static void (*volatile repair)(void);

static void page_fault(struct InterruptFrame* frame) {
    ++seen.count;
    seen.error_code = frame->error_code;
    seen.address = read_cr2();
    repair();
    invalidate_page((void*)seen.address);
}

static void expect(void (*repair_then)(void)) {
    seen.count = 0;
    repair = repair_then;
}

static void check_fault(const char* what, unsigned long error_code, unsigned long address) {
    print(what);
    print("\n");
    check_equal("  one fault", seen.count, 1);
    check_equal("  its error code", seen.error_code, error_code);
    check_equal("  its CR2", seen.address, address);
}

static volatile uint32_t* word_at(uint32_t address) { return (volatile uint32_t*)address; }

// --- two levels (Intel SDM volume 3, section 4.3) ---
static void repair_two_level(void) { table[2] = (uint32_t)frames[2] | kPresent | kWritable; }

static void two_level(void) {
    // The first 4 MiB, where we are, by a large page; the window by 4 KiB pages.
    directory[0] = 0 | kPresent | kWritable | kLargePage;
    directory[kWindow >> 22] = (uint32_t)table | kPresent | kWritable;
    directory[kLargeWindow >> 22] = 0 | kPresent | kWritable | kLargePage;
    table[1] = (uint32_t)frames[1] | kPresent | kWritable;
    write_cr4(read_cr4() | kCr4PageSizeExtensions);
    write_cr3((uint32_t)directory);
    write_cr0(read_cr0() | kCr0Paging | kCr0WriteProtect);

    *word_at(kWindow + 0x1004) = 0x12345678;
    check_equal("4 KiB page: written there, read here", frames[1][1], 0x12345678);
    frames[0][7] = 0x9abcdef0;
    check_equal("4 MiB page: written here, read there", *word_at(kLargeWindow + (uint32_t)&frames[0][7]), 0x9abcdef0);
    check_equal("4 MiB page: accessed, not dirty", directory[kLargeWindow >> 22] & (kAccessed | kDirty), kAccessed);
    check_equal("4 KiB page: accessed and dirty", table[1] & (kAccessed | kDirty), kAccessed | kDirty);

    expect(repair_two_level);
    frames[2][3] = 77;
    check_equal("read after the fault", *word_at(kWindow + 0x200c), 77);
    check_fault("read where no page is", 0, kWindow + 0x200c);

    table[2] = (uint32_t)frames[2] | kPresent;
    invalidate_page((void*)(kWindow + 0x2000));
    expect(repair_two_level);
    *word_at(kWindow + 0x200c) = 78;
    check_fault("write to a read-only page", kErrorPresent | kErrorWrite, kWindow + 0x200c);
    check_equal("written after the fault", frames[2][3], 78);
    write_cr0(read_cr0() & ~(unsigned long)kCr0Paging);
}

// --- PAE (section 4.4) ---
static void repair_pae(void) { pae_table[3] = (uint32_t)frames[3] | kPresent | kWritable; }

// The processor's copy of the four pointers counts until CR3 is loaded again. (QEMU's TCG keeps none.)
static void pae_pointers_cached(void) {
    pae_pointers[2] = (uint32_t)pae_directories[1] | kPresent;
    check_equal("pointer changed in memory only", *word_at(kLargeWindow + (uint32_t)&frames[0][8]), 0x24681357);
    write_cr3(read_cr3());
    check_equal("pointer changed and CR3 loaded", *word_at(kLargeWindow + 0x1008), 0x13572468);
}

static void pae(void) {
    for (unsigned i = 0; i < 4; ++i) pae_pointers[i] = (uint32_t)pae_directories[i] | kPresent;
    pae_directories[0][0] = 0 | kPresent | kWritable | kLargePage;
    pae_directories[1][0] = (uint32_t)pae_table | kPresent | kWritable;
    pae_directories[2][0] = 0 | kPresent | kWritable | kLargePage;
    pae_table[1] = (uint32_t)frames[1] | kPresent | kWritable;
    write_cr4((read_cr4() & ~(unsigned long)kCr4PageSizeExtensions) | kCr4Pae);
    write_msr(MSR_EFER, read_msr(MSR_EFER) | kEferNoExecute);
    write_cr3((uint32_t)pae_pointers);  // MOV to CR3 loads the four pointers into the processor
    write_cr0(read_cr0() | kCr0Paging);

    *word_at(kWindow + 0x1008) = 0x13572468;
    check_equal("PAE, 4 KiB page: written there, read here", frames[1][2], 0x13572468);
    frames[0][8] = 0x24681357;
    check_equal("PAE, 2 MiB page: written here, read there", *word_at(kLargeWindow + (uint32_t)&frames[0][8]),
                0x24681357);

    // mov eax, 42; ret
    frames[3][0] = 42u << 8 | 0xb8;
    frames[3][1] = 0xc300;
    pae_table[3] = (uint32_t)frames[3] | kPresent | 1ull << 63;
    expect(repair_pae);
    const uint32_t value = ((uint32_t(*)(void))(kWindow + 0x3000))();
    check_fault("call of code in a no-execute page", kErrorPresent | kErrorFetch, kWindow + 0x3000);
    check_equal("what the code returned", value, 42);

    if (command_line_number("pointers", 0)) pae_pointers_cached();
    write_cr0(read_cr0() & ~(unsigned long)kCr0Paging);
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    interrupt_handle(kPageFault, page_fault);
    two_level();
    pae();
    return check_verdict("paging32");
}
