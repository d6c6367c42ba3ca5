// What the guests of generated cases share: see cases.h.
//
// GUEST seed=S cases=N first=F: cases F to F + N - 1 of seed S. Each depends on these two numbers alone.
#include "cases.h"

#include "../runtime/ports.h"

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

// Limits are large: QEMU's TCG does not look at those of data.
uint64_t made_data_segment(void) {
    const uint32_t access = made_rights(kSegment | below(8));
    const bool down = (access & 4) != 0;
    if (one_in(3)) return segment(kStacks, down ? 0 : 0xffff, access, 0);
    return segment(0, down ? 0 : kFlat, access, kBig | (down ? 0 : kPages));
}

unsigned long code_at;

// --- what is printed

void print_number(const char* name, unsigned long value) {
    print(" ");
    print(name);
    print("=");
    unsigned digits = 1;
    while (digits < 2 * sizeof value && value >> (4 * digits) != 0) ++digits;
    print_hex(value, digits);
}

void remember_arena(void) { __builtin_memcpy(before, (const void*)kArena, kArenaBytes); }

void print_descriptor(unsigned long error_code) {
    if (error_code == ~0ul || (error_code & 0xfffc) == 0) return;
    unsigned long offset = error_code & 0xfff8;
    if ((error_code & 2) != 0) offset *= sizeof(long) / 4;  // long mode's gates have 16 bytes
    if (offset >= 0x600) return;
    const uint32_t table = error_code & 2 ? kIdt : error_code & 4 ? kLdt : kGdt;
    const uint32_t* const entry = (const uint32_t*)(before + table - kArena + offset);
    print_number("dl", entry[0]);
    print_number("dh", entry[1]);
}

void print_changes(void) {
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
    for (unsigned i = 0; i < kWindowFrameCount << 12; i += 4)
        sum = (sum << 5 | sum >> 27) ^ *word_at(kWindowFrames + i);
    print_number("window", sum);
}

// --- the machine before a case

void fill_with_int3(unsigned long to, uint32_t bytes) {
    unsigned long count = bytes / 4;
    __asm__ volatile("rep stosd" : "+D"(to), "+c"(count) : "a"(0xcccccccc) : "memory");
}

void write_debug_registers(void) {
    __asm__ volatile("mov dr7, %0" : : "r"(0x400ul));
    __asm__ volatile("mov dr6, %0" : : "r"(0xffff0ff0ul));
    __asm__ volatile("mov dr0, %0\n mov dr1, %0\n mov dr2, %0\n mov dr3, %0" : : "r"(0ul));
}

unsigned long read_debug6(void) {
    unsigned long value;
    __asm__ volatile("mov %0, dr6" : "=r"(value));
    return value;
}

int guest_main(void) {
    serial_open();
    const uint32_t seed = (uint32_t)command_line_number("seed", 1), first = (uint32_t)command_line_number("first", 0),
                   cases = (uint32_t)command_line_number("cases", 100);
    out8(0x21, 0xff), out8(0xa1, 0xff);  // no interrupts
    make_pages();
    fill_with_int3(0, kLowBytes);
    for (uint32_t number = first; number < first + cases; ++number) {
        start(seed, number);
        run_case(number);
    }
    print("done\n");
    return 0;
}
