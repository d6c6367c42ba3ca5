// The loop body of the guest `cases64`: makes a case, runs it and prints what it left (cases64.h).
#include "cases64.h"

#include "../runtime/cpu.h"

struct CaseRegisters case_registers;
struct Mode mode;

// --- the CPU before each case

struct __attribute__((packed)) TableRegister {
    uint16_t limit;
    uint64_t base;
};
extern struct TableRegister own_gdt, own_idt, case_gdt, case_idt;
extern uint64_t own_cr0, own_cr4;

static void load_tables(void) {
    own_gdt = (struct TableRegister){8 * kGdtEntries - 1, kHigh + kGdt};
    own_idt = (struct TableRegister){16 * kIdtEntries - 1, kHigh + kIdt};
    __asm__ volatile("lgdt %0" : : "m"(own_gdt));
    __asm__ volatile("lidt %0" : : "m"(own_idt));
    __asm__ volatile("ltr %w0" : : "r"(kMainTask));
    __asm__ volatile("lldt %w0" : : "r"(one_in(8) ? 0 : kLdtSelector));
}

static void make_mode(void) {
    const uint32_t kind = below(12);
    mode.compatibility = kind >= 9;
    mode.ring = kind < 4 || kind == 9 ? 0 : kind == 8 && one_in(2) ? 1 + below(2) : 3;
    mode.base = mode.ring != 3 && !mode.compatibility && one_in(2) ? kHigh : 0;
}

static void make_registers(void) {
    struct CaseRegisters* const r = &case_registers;
    uint64_t* const general = &r->ax;
    for (unsigned i = 0; i < 16; ++i)
        general[i] = one_in(3) ? (uint64_t)chance() << 32 | chance() : mode.base + kData + 8 * below(32);
    r->si = mode.base + kData;
    r->ip = mode.base + kEntry;
    r->sp = mode.base + kStackOfCase;
    r->flags = 2 | (chance() & 0x8d5) | below(4) << 12 | (one_in(16) ? 0x100 : 0) | (one_in(4) ? 0x40000 : 0);
    r->cs = mode.compatibility ? compatibility_code(mode.ring) : ring_code(mode.ring);
    r->ss = mode.ring != 3 && !mode.compatibility && one_in(4) ? mode.ring : ring_data(mode.ring);
    r->ds = mode.compatibility ? ring_data(mode.ring) : below(4);
    uint64_t* const others = &r->es;
    // QEMU's TCG does not clear the RPL of null selectors on the way out.
    const uint32_t null = mode.ring == 0 ? below(4) : 0;
    for (unsigned i = 0; i < 3; ++i) others[i] = one_in(3) ? null : ring_data(one_in(4) ? 3 : mode.ring);
    // Bases that differ from those of descriptors: behind null selectors they stay.
    r->fs_base = one_in(2) ? 0 : mode.base + kData, r->gs_base = one_in(2) ? 0 : kHigh + kData;
    r->kernel_gs_base = kHigh + 8 * below(0x1000);
    r->vector = r->error_code = r->handler_sp = ~0ul;
}

enum { kUmip = 1 << 11, kFsGsBase = 1 << 16, kSmep = 1 << 20, kSmap = 1 << 21, kDebuggingExtensions = 1 << 3 };
#define kEferLong 0x500ul  // LME, LMA
#define MSR_SYSENTER_CS 0x174u

static const uint32_t kMsrs[] = {MSR_EFER,        MSR_STAR, MSR_LSTAR, 0xc0000083u, MSR_SFMASK,
                                 MSR_SYSENTER_CS, 0x175u,   0x176u,    0xc0000103u};
enum { kMsrCount = sizeof kMsrs / sizeof kMsrs[0] };
static const char* const kMsrNames[kMsrCount] = {"efer", "star", "lstar", "cstar", "sfmask",
                                                 "secs", "sesp", "seip",  "aux"};
static uint64_t msrs[kMsrCount];

static bool canonical(uint64_t address) { return (address + kHole) >> 48 == 0; }

static void make_system_registers(void) {
    struct CaseRegisters* const r = &case_registers;
    r->cr0 = (own_cr0 & ~(uint64_t)kCr0WriteProtect) | (one_in(2) ? kCr0WriteProtect : 0);
    r->cr4 = own_cr4 | (one_in(4) ? kUmip : 0) | (one_in(2) ? kFsGsBase : 0) | (one_in(5) ? kSmep : 0) |
             (one_in(5) ? kSmap : 0) | (one_in(8) ? kDebuggingExtensions : 0);
    const uint64_t entry = made_code_address(), other_entry = made_code_address(), stack = made_stack_address();
    const uint64_t kernel = one_in(8) ? chance() & 0xffff : kKernelCode;
    const uint64_t user = one_in(8) ? chance() & 0xffff : kRingCode + 0x20;
    const uint64_t made[kMsrCount] = {kEferLong | (one_in(8) ? 0 : kEferSyscall) | (one_in(8) ? 0 : kEferNoExecute),
                                      kernel << 32 | user << 48,
                                      canonical(entry) ? entry : kCode,
                                      kCode + 0x100,
                                      one_in(2) ? made_flags() : 0x4700,
                                      one_in(4) ? below(4) : (uint64_t)kKernelCode,
                                      canonical(stack) ? stack : kStackOfCase - 0x100,
                                      canonical(other_entry) ? other_entry : kCode + 0x2000,
                                      0};
    for (unsigned i = 0; i < kMsrCount; ++i) write_msr(kMsrs[i], msrs[i] = made[i]);
}

static unsigned make_code(const char** kind) {
    const unsigned n = below(kTransferKindCount + kSystemKindCount);
    const struct Kind* const chosen =
        n < kTransferKindCount ? &kTransferKinds[n] : &kSystemKinds[n - kTransferKindCount];
    *kind = chosen->name;
    code_at = kEntry;
    chosen->make();
    return (unsigned)(code_at - kEntry);
}

// --- what is printed

static void print_registers(const struct CaseRegisters* r) {
    static const char* const kNames[8] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
    static const char* const kOthers[8] = {"ip", "cs", "fl", "ss", "ds", "es", "fs", "gs"};
    const uint64_t *const general = &r->ax, *const others = &r->ip;
    for (unsigned i = 0; i < 8; ++i) print_number(kNames[i], general[i]);
    for (unsigned i = 0; i < 8; ++i) print_number(kOthers[i], i == 1 || i > 2 ? others[i] & 0xffff : others[i]);
}

static void print_changed(const char* name, uint64_t old, uint64_t now) {
    if (now != old) print_number(name, now);
}

static void print_system_registers(const struct CaseRegisters* start) {
    static const char* const kNumbered[8] = {"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
    const uint64_t *const old = &start->r8, *const now = &case_registers.r8;
    for (unsigned i = 0; i < 8; ++i) print_changed(kNumbered[i], old[i], now[i]);
    print_changed("cr0", start->cr0, case_registers.cr0);
    print_changed("cr4", start->cr4, case_registers.cr4);
    print_changed("fsb", start->fs_base, read_msr(0xc0000100));
    print_changed("gsb", start->gs_base, read_msr(0xc0000101));
    print_changed("kgsb", start->kernel_gs_base, read_msr(0xc0000102));
    for (unsigned i = 0; i < kMsrCount; ++i) print_changed(kMsrNames[i], msrs[i], read_msr(kMsrs[i]));
    print_changed("gdt", own_gdt.base, case_gdt.base);
    print_changed("gdtl", own_gdt.limit, case_gdt.limit);
    print_changed("idt", own_idt.base, case_idt.base);
    print_changed("idtl", own_idt.limit, case_idt.limit);
}

static void print_case(uint32_t number, const char* kind, unsigned length) {
    print_decimal(number);
    print(mode.compatibility ? " compat" : " ring");
    print_decimal(mode.ring);
    print(" ");
    print(kind);
    print(": ");
    for (unsigned i = 0; i < length; ++i) print_hex(*(volatile uint8_t*)(unsigned long)(kEntry + i), 2);
    print_registers(&case_registers);
    print_number("cr0", case_registers.cr0);
    print_number("cr4", case_registers.cr4);
    print_number("efer", msrs[0]);
    print_number("secs", msrs[5]);
    print("\n   ");
}

void run_case(uint32_t number) {
    if (own_cr4 == 0) own_cr0 = read_cr0(), own_cr4 = read_cr4();
    make_world();
    make_mode();
    make_registers();
    make_system_registers();
    fill_with_int3(kWindowFrames, kWindowFrameCount << 12);
    fill_with_int3(0, 0x10000);  // where 16-bit stacks have left something
    const char* kind = NULL;
    const unsigned length = make_code(&kind);
    print_case(number, kind, length);

    load_tables();
    write_cr3(read_cr3());
    write_debug_registers();
    write_cr2(0);
    remember_arena();
    const struct CaseRegisters begin = case_registers;
    enter_case();

    const uint64_t cr2 = read_cr2();
    uint32_t task = 0, ldt = 0;
    __asm__ volatile("str %0" : "=r"(task));
    __asm__ volatile("sldt %0" : "=r"(ldt));
    const unsigned long debug6 = read_debug6();
    write_debug_registers();  // before any breakpoint is hit by what follows
    print_number("vector", case_registers.vector);
    print_number("error", case_registers.error_code);
    print_registers(&case_registers);
    print_number("hsp", case_registers.handler_sp);
    print_system_registers(&begin);
    print_number("cr2", cr2);
    print_number("dr6", debug6);
    print_number("tr", task & 0xffff);
    print_number("ldt", ldt & 0xffff);
    enum { kPageFault = 14 };  // whose error code names no descriptor
    // Where an error code names no descriptor, LAR and LSL may have been asked about one.
    const uint64_t error_code = case_registers.error_code;
    if (case_registers.vector != kPageFault)
        print_descriptor(error_code == ~0ul || error_code == 0 ? begin.ax & 0xfffc : error_code);
    print_number("dirty", window_dirty_pages());
    print_changes();
    print("\n");
}
