// A kernel and its program: ring 3 asks for everything by SYSCALL or by INT 80h, with Linux's numbers, and may touch
// neither the ports nor the kernel's memory.
#include "../runtime/check.h"
#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"

extern uint64_t boot_pd[512];
extern const char user_program[], user_program_end[];  // ring3_program.S
void syscall_entry(void);                              // ring3_program.S

enum { kUserBase = 4 << 20, kUserSize = 2 << 20 };
enum { kSyscallVector = 0x80 };

static unsigned long refused;  // exceptions that the program made

static void write(unsigned long text, unsigned long length) {
    // A kernel looks at what it is handed before it reads it.
    if (text < kUserBase || length > kUserSize || text + length > kUserBase + kUserSize) {
        check("the program's text is in its own memory", false);
        return;
    }
    for (unsigned long i = 0; i < length; ++i) print_character(((const char*)text)[i]);
}

_Noreturn static void leave(unsigned long status) {
    check_equal("the program's exit status", status, 7);
    check_equal("what the program was refused", refused, 4);
    guest_exit(check_verdict("ring3"));
}

// SYSCALL's numbers are those of 64-bit Linux: 1 write(fd, text, length), 60 exit(status). Called by syscall_entry.
long syscall(unsigned long number, unsigned long first, unsigned long second, unsigned long third);
long syscall(unsigned long number, unsigned long first, unsigned long second, unsigned long third) {
    if (number == 1) {
        write(second, third);
        return (long)third;
    }
    if (number == 60) leave(first);
    return -38;  // ENOSYS
}

// INT 80h's are those of 32-bit Linux: 4 write, arguments in EBX, ECX, EDX.
static void int80(struct InterruptFrame* frame) {
    check_equal("INT 80h: CS of the program", frame->cs, 0x2b);
    check_equal("INT 80h: SS of the program", frame->ss, 0x23);
    if (frame->ax != 4) {
        frame->ax = (unsigned long)-38;
        return;
    }
    write(frame->cx, frame->dx);
    frame->ax = frame->dx;
}

// The program tries what it may not do: it is told by RAX = -1 and goes on behind the instruction, whose length is in
// R15.
static void refuse(struct InterruptFrame* frame) {
    ++refused;
    frame->ax = (unsigned long)-1;
    frame->ip += frame->r15;
}

static void protect_kernel(void) {
    for (unsigned i = 0; i < 512; ++i) boot_pd[i] &= ~4ul;  // supervisor only
    boot_pd[kUserBase / (2 << 20)] |= 4;
    write_cr3(read_cr3());
    char* to = (char*)kUserBase;
    for (const char* from = user_program; from != user_program_end; ++from) *to++ = *from;
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    interrupt_gate(kSyscallVector, 3, 0);
    interrupt_handle(kSyscallVector, int80);
    interrupt_handle(kGeneralProtection, refuse);
    interrupt_handle(kPageFault, refuse);
    tss_load(kPortsClosed);
    protect_kernel();

    // SYSCALL takes CS 08h and SS 10h; SYSRET 2Bh and 23h (Intel SDM volume 2, SYSCALL, SYSRET).
    write_msr(MSR_STAR, 0x0018ull << 48 | 0x0008ull << 32);
    write_msr(MSR_LSTAR, (uint64_t)syscall_entry);
    write_msr(MSR_SFMASK, 0x00000600);  // interrupts off, direction up
    write_msr(MSR_EFER, read_msr(MSR_EFER) | kEferSyscall);

    enter_ring3((void (*)(void))kUserBase, (void*)(kUserBase + kUserSize), 0x002);
}
