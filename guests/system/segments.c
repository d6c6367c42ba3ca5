// Segmentation in 32-bit protected mode. The instructions are in segments32.S (selectors, LDT, gates, rings) or, for
// the guest `limits`, in limits32.S (limits and access rights of each access, which QEMU's TCG does not check).
#include "../runtime/faults.h"

extern uint64_t boot_gdt_spare[];  // from selector 28h on
extern const char guest_name[];
// The assembly: its exceptions are checked as they come, its results here.
void use_segments(void);
void check_results(void);
void same_ring(void);
void inner_ring(void);
extern const char code16[], small_stack_end[];  // the latter on a page boundary

uint8_t memory[8192] __attribute__((aligned(4096)));
static uint64_t ldt[4];

// Access bytes (Intel SDM volume 3, sections 3.4.5 and 3.5).
enum {
    kReadOnly = 0x90,
    kReadWrite = 0x92,
    kReadWriteExpandDown = 0x96,
    kExecuteOnly = 0x98,
    kExecuteRead = 0x9a,
    kExecuteConforming = 0x9e,
    kLdt = 0x82,
    kCallGate = 0x8c,
    kAbsent = 0x80,  // to be taken away: the present bit
    kRing3 = 0x60,
};
enum { k16Bit = 0, k32Bit = 4, kPages = 8 };

static uint64_t segment(const volatile void* at, uint32_t limit, unsigned access, unsigned flags) {
    const uint64_t base = (uint32_t)at;
    return (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
           (uint64_t)flags << 52 | (base >> 24) << 56;
}

static uint64_t call_gate(void (*to)(void), unsigned access, unsigned parameters) {
    const uint64_t offset = (uint32_t)to;
    return (offset & 0xffff) | 0x08 << 16 | (uint64_t)parameters << 32 | (uint64_t)access << 40 | (offset >> 16) << 48;
}

static void put(unsigned selector, uint64_t descriptor) { boot_gdt_spare[(selector - 0x28) / 8] = descriptor; }

static void make_descriptors(void) {
    put(0x30, segment(memory, 0xfff, kReadWrite, k32Bit));
    put(0x38, segment(memory, 0xfff, kReadWriteExpandDown, k32Bit));
    put(0x40, segment(memory, 0xfff, kReadOnly, k32Bit));
    put(0x48, segment(0, 0xfffff, kExecuteOnly, k32Bit | kPages));
    put(0x50, segment(memory, 0xfff, kReadWrite & ~kAbsent, k32Bit));
    put(0x58, segment(ldt, sizeof ldt - 1, kLdt, 0));
    put(0x60, call_gate(same_ring, kCallGate, 0));
    put(0x68, call_gate(inner_ring, kCallGate | kRing3, 2));
    put(0x70, call_gate(same_ring, kCallGate & ~kAbsent, 0));
    put(0x78, segment(0, 0xfffff, kExecuteConforming, k32Bit | kPages));
    put(0x80, segment(code16, 0xffff, kExecuteRead, k16Bit));
    put(0x88, segment(memory, 0xfff, kReadWriteExpandDown, k16Bit));
    put(0x90, segment(0, ((uint32_t)small_stack_end >> 12) - 1, kReadWrite, k32Bit | kPages));
    ldt[1] = segment(memory + 0x100, 0xff, kReadWrite, k32Bit);
    for (unsigned i = 0; i < sizeof memory; ++i) memory[i] = (uint8_t)(i ^ i >> 8);
}

// The code ends by INT3, which nothing else there uses.
static void finish(struct InterruptFrame* frame) {
    (void)frame;
    faults_finish();
    check_results();
    guest_exit(check_verdict(guest_name));
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    tss_load(kPortsClosed);
    make_descriptors();
    faults_watch();
    interrupt_gate(kBreakpoint, 3, 0);
    interrupt_handle(kBreakpoint, finish);
    use_segments();
    return 1;
}
