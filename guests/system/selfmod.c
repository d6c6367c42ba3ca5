// Code that changes code, in every way that a program can: -append "ring=0|3 size=ROUNDS". A machine that keeps decoded
// or translated code must notice each of them.
#include "../runtime/check.h"
#include "../runtime/interrupts.h"

extern uint64_t boot_pdpt[512];

// selfmod64.S. Each changes an instruction `mov eax, OLD` into `mov eax, value` and gives what it then loads.
uint32_t change_just_ahead(uint32_t value);
uint32_t change_other_page(uint32_t value);
uint32_t change_through(uint32_t value, uint32_t* operand);
uint32_t change_in_loop(uint32_t rounds);
uint32_t change_by_string(uint32_t value);
uint32_t change_opcode(void);
extern char alias_operand[], copied_code[], copied_code_end[];

static unsigned char user_stack[16384] __attribute__((aligned(16)));
static uint8_t buffer[4096] __attribute__((aligned(4096)));
static unsigned long size;

// The first GiB is seen a second time here: every instruction has an address at which nobody executes it.
#define kAlias 0x40000000ul

static uint32_t call_copied_code(uint32_t value) {
    const unsigned long length = (unsigned long)(copied_code_end - copied_code);
    for (unsigned long i = 0; i < length; ++i) buffer[i] = (uint8_t)copied_code[i];
    for (unsigned i = 0; i < 4; ++i) buffer[1 + i] = (uint8_t)(value >> 8 * i);
    __asm__ volatile("" : : : "memory");  // to the compiler these are just bytes
    return ((uint32_t(*)(void))buffer)();
}

_Noreturn static void run(void) {
    unsigned long ahead = 0, other_page = 0, alias = 0, copied = 0, by_string = 0;
    for (uint32_t i = 1; i <= size; ++i) {
        ahead += change_just_ahead(i) == i;
        other_page += change_other_page(i) == i;
        alias += change_through(i, (uint32_t*)(alias_operand + kAlias)) == i;
        copied += call_copied_code(i * 3) == i * 3;
        by_string += change_by_string(i) == i;
    }
    check_equal("an instruction just ahead", ahead, size);
    check_equal("an instruction in another page", other_page, size);
    check_equal("an instruction, through another address", alias, size);
    check_equal("code copied and called, other code each time", copied, size);
    check_equal("an instruction just ahead, by REP STOSB", by_string, size);
    check_equal("an immediate that a loop adds up and counts up", change_in_loop((uint32_t)size),
                (uint32_t)(size * (size + 1) / 2));
    check_equal("INC made DEC, and back, by turns", change_opcode(), 1000);
    guest_exit(check_verdict("selfmod"));
}

int guest_main(void) {
    serial_open();
    const unsigned long ring = command_line_number("ring", 3);
    size = command_line_number("size", 500);
    boot_pdpt[1] = boot_pdpt[0];
    interrupts_install();
    if (ring == 0) run();
    tss_load(kPortsOpen);
    enter_ring3(run, user_stack + sizeof user_stack, 0x002);
}
