// Generated system-level cases in 32-bit protected mode (cases32.h): the loop that runs them, and what it prints.
//
// cases32 seed=S cases=N first=F: cases F to F + N - 1 of seed S. Each depends on these two numbers alone.
#include "cases32.h"

#include "../runtime/cpu.h"
#include "../runtime/ports.h"

struct CaseRegisters case_registers;
extern uint32_t own_far_pointer[2];
static uint8_t before[kArenaBytes];

// Marsaglia's xorshift.
static uint32_t state;
uint32_t chance(void) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state * 0x9e3779b1u >> 3 ^ state;
}

static void start(uint32_t seed, uint32_t number) {
    state = (seed * 0x85ebca6bu) ^ (number * 0xc2b2ae35u) ^ 0x12345679u;
    if (state == 0) state = 1;
    for (unsigned i = 0; i < 8; ++i) chance();
}

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

static void write_debug_registers(void) {
    __asm__ volatile("mov dr7, %0" : : "r"(0x400));
    __asm__ volatile("mov dr6, %0" : : "r"(0xffff0ff0));
    __asm__ volatile("mov dr0, %0\n mov dr1, %0\n mov dr2, %0\n mov dr3, %0" : : "r"(0));
}

static uint32_t read_debug6(void) {
    uint32_t value;
    __asm__ volatile("mov %0, dr6" : "=r"(value));
    return value;
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

static void print_number(const char* name, uint32_t value) {
    print(" ");
    print(name);
    print("=");
    unsigned digits = 1;
    while (digits < 8 && value >> (4 * digits) != 0) ++digits;
    print_hex(value, digits);
}

// The descriptor that an error code names, as it was: for whoever has to find out why.
static void print_descriptor(uint32_t error_code) {
    if (error_code == ~0u || (error_code & 0xfffc) == 0 || (error_code & 0xfff8) >= 0x300) return;
    const uint32_t table = error_code & 2 ? kIdt : error_code & 4 ? kLdt : kGdt;
    const uint32_t* const entry = (const uint32_t*)(before + table - kArena + (error_code & 0xfff8));
    print_number("dl", entry[0]);
    print_number("dh", entry[1]);
}

static void print_registers(const struct CaseRegisters* r) {
    static const char* const kNames[16] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di",
                                           "ip", "cs", "fl", "ss", "ds", "es", "fs", "gs"};
    const uint32_t* const values = &r->ax;
    for (unsigned i = 0; i < 16; ++i) print_number(kNames[i], i > 10 || i == 9 ? values[i] & 0xffff : values[i]);
}

static void print_changes(void) {
    unsigned changes = 0;
    for (uint32_t i = 0; i < kArenaBytes; i += 4) {
        const uint32_t old = *(uint32_t*)(before + i), now = *word_at(kArena + i);
        if (old == now) continue;
        if (++changes > 64) break;
        print(" [");
        print_hex(kArena + i, 6);
        print("]");
        print_hex(now, 8);
    }
    uint32_t sum = 0;
    for (unsigned i = 0; i < kWindowPages << 12; i += 4) sum = (sum << 5 | sum >> 27) ^ *word_at(kWindowFrames + i);
    print_number("window", sum);
}

static void fill(uint32_t to, uint32_t bytes) {
    uint32_t count = bytes / 4;
    __asm__ volatile("rep stosd" : "+D"(to), "+c"(count) : "a"(0xcccccccc) : "memory");
}

static void run_case(uint32_t seed, uint32_t number) {
    start(seed, number);
    make_world();
    const unsigned ring = one_in(3) ? 0 : below(5);
    make_registers(ring);
    fill(kWindowFrames, kWindowPages << 12);
    // Where 16-bit stacks, and those of virtual-8086 programs, have left something.
    fill(0, 0x10000);
    fill(0x26000, 0x2000);
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
    __builtin_memcpy(before, (const void*)kArena, kArenaBytes);
    own_far_pointer[0] = kStackOfCase;
    own_far_pointer[1] = kKernelData;
    enter_case();

    const uint32_t cr0_after = read_cr0(), cr4_after = read_cr4(), cr2 = read_cr2();
    uint32_t task = 0, ldt = 0;
    __asm__ volatile("str %0" : "=r"(task));
    __asm__ volatile("sldt %0" : "=r"(ldt));
    const uint32_t debug6 = read_debug6();
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

int guest_main(void) {
    serial_open();
    const uint32_t seed = (uint32_t)command_line_number("seed", 1), first = (uint32_t)command_line_number("first", 0),
                   cases = (uint32_t)command_line_number("cases", 100);
    out8(0x21, 0xff), out8(0xa1, 0xff);  // no interrupts
    make_pages();
    fill(0, kLowBytes);
    for (uint32_t number = first; number < first + cases; ++number) run_case(seed, number);
    print("done\n");
    return 0;
}
