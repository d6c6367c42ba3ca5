// The loop body of the guest `cases32`: makes a case, runs it and prints what it left (cases32.h).
#include "cases32.h"

#include "../runtime/cpu.h"

struct CaseRegisters case_registers;
extern uint32_t own_far_pointer[2];

// --- the CPU before each case

struct __attribute__((packed)) TableRegister {
    uint16_t limit;
    uint32_t base;
};

static void load_tables(void) {
    const struct TableRegister gdt = {8 * kGdtEntries - 1, kGdt}, idt = {8 * kIdtEntries - 1, kIdt};
    __asm__ volatile("lgdt %0" : : "m"(gdt));
    __asm__ volatile("lidt %0" : : "m"(idt));
    __asm__ volatile("ltr %w0" : : "r"(kMainTask));
    __asm__ volatile("lldt %w0" : : "r"(one_in(8) ? 0 : kLdtSelector));
}

static void make_registers(unsigned ring) {
    struct CaseRegisters* const r = &case_registers;
    uint32_t* const general = &r->ax;
    for (unsigned i = 0; i < 8; ++i) general[i] = one_in(3) ? chance() : kData + 4 * below(64);
    r->ip = kEntry;
    r->flags = 2 | (chance() & 0x8d5) | below(4) << 12;
    r->sp = kStackOfCase;
    r->vector = r->error_code = ~0u;
    if (ring == kVirtual8086) {
        r->flags |= 0x20000;
        r->cs = below(0x100);  // segments in low memory
        r->ip = 0x8000 - (r->cs << 4);
        r->ss = 0x2000, r->sp = 0x7000, r->ds = below(0x9000), r->es = below(0x9000), r->fs = below(0x9000);
        r->gs = below(0x9000);
        return;
    }
    r->cs = ring_code(ring);
    r->ss = r->ds = ring_data(ring);
    uint32_t* const others = &r->es;
    for (unsigned i = 0; i < 3; ++i) others[i] = one_in(3) ? 0 : ring_data(one_in(4) ? 3 : ring);
    if (one_in(8)) r->es = below(4);
}

// --- what is printed

static void print_registers(const struct CaseRegisters* r) {
    static const char* const kNames[16] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di",
                                           "ip", "cs", "fl", "ss", "ds", "es", "fs", "gs"};
    const uint32_t* const values = &r->ax;
    for (unsigned i = 0; i < 16; ++i) print_number(kNames[i], i > 10 || i == 9 ? values[i] & 0xffff : values[i]);
}

void run_case(uint32_t number) {
    make_world();
    const unsigned ring = one_in(3) ? 0 : below(5);
    make_registers(ring);
    fill_with_int3(kWindowFrames, kWindowFrameCount << 12);
    // Where 16-bit stacks, and those of virtual-8086 programs, have left something.
    fill_with_int3(0, 0x10000);
    fill_with_int3(0x26000, 0x2000);
    const char* kind = NULL;
    const unsigned length = make_code(ring, &kind);
    print_decimal(number);
    print(ring == kVirtual8086 ? " v86 " : " ring");
    if (ring != kVirtual8086) print_decimal(ring);
    print(" ");
    print(kind);
    print(":");
    for (unsigned i = 0; i < length; ++i) {
        print(i % 16 == 0 ? " " : "");
        print_hex(*(volatile uint8_t*)((ring == kVirtual8086 ? 0x8000 : kEntry) + i), 2);
    }
    print_registers(&case_registers);
    print("\n   ");

    const uint32_t cr0 = read_cr0(), cr4 = read_cr4();
    load_tables();
    write_cr3(read_cr3());
    write_debug_registers();
    write_msr(0x174, one_in(4) ? below(4) : (uint32_t)kKernelCode);
    write_msr(0x175, kStackOfCase - 0x100);
    write_msr(0x176, kCode + 0x2000);
    write_cr2(0);
    remember_arena();
    own_far_pointer[0] = kStackOfCase;
    own_far_pointer[1] = kKernelData;
    enter_case();

    const uint32_t cr0_after = read_cr0(), cr4_after = read_cr4(), cr2 = read_cr2();
    uint32_t task = 0, ldt = 0;
    __asm__ volatile("str %0" : "=r"(task));
    __asm__ volatile("sldt %0" : "=r"(ldt));
    const unsigned long debug6 = read_debug6();
    write_debug_registers();  // before any breakpoint is hit by what follows
    write_cr0(cr0);
    write_cr4(cr4);
    print_number("vector", case_registers.vector);
    print_number("error", case_registers.error_code);
    print_registers(&case_registers);
    if (cr0_after != cr0) print_number("cr0", cr0_after);
    if (cr4_after != cr4) print_number("cr4", cr4_after);
    print_number("cr2", cr2);
    print_number("dr6", debug6);
    print_number("tr", task & 0xffff);
    print_number("ldt", ldt & 0xffff);
    enum { kPageFault = 14 };  // whose error code names no descriptor
    if (case_registers.vector != kPageFault) print_descriptor(case_registers.error_code);
    print_changes();
    print("\n");
}
