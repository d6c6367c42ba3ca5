// The IDT, the TSS and the dispatch of interrupts to C handlers: see interrupts.h.
#include "interrupts.h"

#include "cpu.h"

enum { kIoMapBytes = 65536 / 8 };

#ifdef __x86_64__
// A 64-bit gate (Intel SDM volume 3, section 6.14.1).
struct Gate {
    uint16_t offset_low, selector;
    uint8_t stack_index, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};
// A 64-bit TSS (section 8.7).
struct Tss {
    uint32_t reserved0;
    uint64_t ring_stack[3];
    uint64_t reserved1;
    uint64_t interrupt_stack[7];
    uint64_t reserved2;
    uint16_t reserved3, io_map_base;
    uint8_t io_map[kIoMapBytes + 1];
} __attribute__((packed));
enum { kTssSelector = 0x30 };
#else
// A 32-bit gate (section 6.11).
struct Gate {
    uint16_t offset_low, selector;
    uint8_t reserved, type;
    uint16_t offset_middle;
};
// A 32-bit TSS (section 8.2.1). Only what a change of rings reads is named.
struct Tss {
    uint32_t back_link;
    uint32_t stack0, stack_segment0;
    uint32_t unnamed[22];
    uint16_t trap, io_map_base;
    uint8_t io_map[kIoMapBytes + 1];
};
enum { kTssSelector = 0x28 };
#endif

enum { kVectors = 256, kGatesBuilt = 64, kInterruptGate = 0x8e };

static struct Gate idt[kVectors] __attribute__((aligned(16)));
static InterruptHandler handlers[kVectors];
static struct Tss tss;
static char ring0_stack[8192] __attribute__((aligned(16)));
#ifdef __x86_64__
static char interrupt_stack[4096] __attribute__((aligned(16)));
#endif

extern const char interrupt_entries[];  // 16 bytes each
extern uint64_t boot_gdt_spare[];       // the first free entries of the GDT: kTssSelector

void interrupt_gate(unsigned vector, unsigned privilege, unsigned stack_index) {
    const unsigned long entry = (unsigned long)interrupt_entries + 16 * vector;
    struct Gate gate = {
        .offset_low = (uint16_t)entry,
        .selector = 0x08,
        .type = (uint8_t)(kInterruptGate | privilege << 5),
        .offset_middle = (uint16_t)(entry >> 16),
    };
#ifdef __x86_64__
    gate.stack_index = (uint8_t)stack_index;
    gate.offset_high = (uint32_t)(entry >> 32);
#else
    (void)stack_index;  // 32-bit gates have none
#endif
    idt[vector] = gate;
}

void interrupt_gate_set_present(unsigned vector, bool present) {
    idt[vector].type = (uint8_t)((idt[vector].type & 0x7f) | (present ? 0x80 : 0));
}

void interrupt_gate_remove(unsigned vector) { idt[vector] = (struct Gate){0}; }

void interrupts_install(void) {
    for (unsigned vector = 0; vector < kGatesBuilt; ++vector) interrupt_gate(vector, 0, 0);
    const struct {
        uint16_t limit;
        unsigned long base;
    } __attribute__((packed)) idt_register = {sizeof idt - 1, (unsigned long)idt};
    __asm__ volatile("lidt %0" : : "m"(idt_register));
}

void interrupt_handle(unsigned vector, InterruptHandler handler) { handlers[vector] = handler; }

static void report_unexpected(const struct InterruptFrame* frame) {
    print("unexpected interrupt: vector ");
    print_decimal(frame->vector);
    print(", error code ");
    print_hex(frame->error_code, 8);
    print(", at ");
    print_hex(frame->cs, 4);
    print(":");
    print_hex(frame->ip, 2 * sizeof frame->ip);
    print(", CR2 ");
    print_hex(read_cr2(), 2 * sizeof(long));
    print("\n");
    guest_exit(1);
}

// Called by interrupts32.S and interrupts64.S.
void interrupt_dispatch(struct InterruptFrame* frame);
void interrupt_dispatch(struct InterruptFrame* frame) {
    const InterruptHandler handler = handlers[frame->vector];
    if (handler == NULL) report_unexpected(frame);
    handler(frame);
}

void tss_load(enum Ports ports) {
#ifdef __x86_64__
    tss.ring_stack[0] = (uint64_t)(ring0_stack + sizeof ring0_stack);
    tss.interrupt_stack[0] = (uint64_t)(interrupt_stack + sizeof interrupt_stack);
#else
    tss.stack0 = (uint32_t)(ring0_stack + sizeof ring0_stack);
    tss.stack_segment0 = 0x10;
#endif
    // The I/O permission map (Intel SDM volume 1, section 19.5.2): a bit of 0 opens a port to every ring, and the byte
    // behind the last one must be all ones. A map that begins behind the TSS's limit opens none.
    tss.io_map_base = ports == kPortsOpen ? offsetof(struct Tss, io_map) : sizeof tss;
    tss.io_map[kIoMapBytes] = 0xff;
    // An available TSS descriptor (section 8.2.2); in 64-bit mode a second entry holds the base's upper half.
    const uint64_t base = (unsigned long)&tss;
    boot_gdt_spare[0] = (sizeof tss - 1) | (base & 0xffffff) << 16 | (uint64_t)0x89 << 40 | (base >> 24 & 0xff) << 56;
#ifdef __x86_64__
    boot_gdt_spare[1] = base >> 32;
#endif
    __asm__ volatile("ltr %w0" : : "r"(kTssSelector));
}
