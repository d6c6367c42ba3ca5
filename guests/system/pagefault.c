// Page faults in long mode: each kind raised on purpose, its error code and CR2 checked, its cause removed by the
// handler, and the instruction that faulted carried on.
#include "window.h"

static void not_present(void) {
    volatile uint32_t* word = (volatile uint32_t*)(window_page(1) + 0x124);
    *(volatile uint32_t*)(window_frames[1] + 0x124) = 0x12345678;
    window_map(1, 0);
    window_expect(1, kPresent);
    const uint32_t value = *word;
    window_check_fault("read of a page that is not there", 0, (const void*)word);
    check_equal("  the value read after it", value, 0x12345678);

    window_map(1, 0);
    window_expect(1, kPresent | kWritable);
    *word = 0x9abcdef0;
    window_check_fault("write to a page that is not there", kErrorWrite, (const void*)word);
    check_equal("  the value written after it", frame_word32(1, 0x124), 0x9abcdef0);
}

static void write_protection(void) {
    volatile uint64_t* counter = (volatile uint64_t*)window_page(2);
    *(volatile uint64_t*)window_frames[2] = 41;
    window_map(2, kPresent);
    window_expect(2, kPresent | kWritable);
    write_cr0(read_cr0() & ~(unsigned long)kCr0WriteProtect);
    __asm__ volatile("add qword ptr [%0], 1" : : "r"(counter) : "memory", "cc");
    print("ring 0 writes to a read-only page, CR0.WP = 0\n");
    check_equal("  no fault", window_seen.count, 0);
    check_equal("  the value written", frame_word64(2, 0), 42);

    write_cr0(read_cr0() | kCr0WriteProtect);
    window_map(2, kPresent);
    __asm__ volatile("add qword ptr [%0], 1" : : "r"(counter) : "memory", "cc");
    window_check_fault("ring 0 adds to a read-only page, CR0.WP = 1", kErrorPresent | kErrorWrite,
                       (const void*)counter);
    check_equal("  added once", frame_word64(2, 0), 43);
}

static void no_execute(void) {
    static const uint8_t code[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov eax, 42; ret
    for (unsigned i = 0; i < sizeof code; ++i) window_frames[3][i] = code[i];
    write_msr(MSR_EFER, read_msr(MSR_EFER) | kEferNoExecute);
    window_map(3, kPresent | kNoExecute);
    window_expect(3, kPresent);
    const int value = ((int (*)(void))window_page(3))();
    window_check_fault("call of code in a no-execute page", kErrorPresent | kErrorFetch, window_page(3));
    check_equal("  the saved RIP is the page", window_seen.ip, (unsigned long)window_page(3));
    check_equal("  what the code returned", (unsigned long)value, 42);
}

static void string_instruction(void) {
    for (unsigned i = 0; i < 256; ++i) window_frames[0][i] = (uint8_t)(i + 1);
    window_map(5, kPresent | kWritable);
    window_map(6, 0);
    window_expect(6, kPresent | kWritable);
    void* to = window_page(6) - 128;
    const volatile void* from = window_frames[0];
    unsigned long count = 256;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    window_check_fault("REP MOVSB running into a page that is not there", kErrorWrite, window_page(6));
    check_equal("  RCX at the end", count, 0);
    check_equal("  RDI at the end", (unsigned long)to, (unsigned long)window_page(6) + 128);
    unsigned long right = 0;
    for (unsigned i = 0; i < 256; ++i) right += window_frames[6][(long)i - 128] == (uint8_t)(i + 1);
    check_equal("  bytes copied right", right, 256);
}

static void accessed_and_dirty(void) {
    window_map(7, kPresent | kWritable);
    (void)*(volatile uint8_t*)window_page(7);
    print("accessed and dirty bits\n");
    check_equal("  after a read", window_pt[7] & (kAccessed | kDirty), kAccessed);
    *(volatile uint8_t*)window_page(7) = 1;
    check_equal("  after a write", window_pt[7] & (kAccessed | kDirty), kAccessed | kDirty);
}

// Ring 3 reads, writes and executes a page of the supervisor's. It comes back to ring 0 by UD2.
static char user_stack[4096] __attribute__((aligned(16)));
static struct InterruptFrame kernel;  // where ring 0 goes on

static void leave_ring3(struct InterruptFrame* frame) {
    frame->ip = kernel.ip;
    frame->cs = 0x08;
    frame->ss = 0x10;
    frame->sp = kernel.sp;
    frame->bp = kernel.bp;
    frame->bx = kernel.bx;
    frame->flags = 0x002;
}

// Calls `code` at ring 3; what it leaves in RAX comes back.
static unsigned long at_ring3(void (*code)(void)) {
    unsigned long result;
    __asm__ volatile(
        "lea rax, 1f[rip]\n"
        "mov %1, rax\n"
        "mov %2, rsp\n"
        "mov %3, rbp\n"
        "mov %4, rbx\n"
        "sub rsp, 128\n"
        "mov edx, 2\n"
        "call enter_ring3\n"
        "1:\n"
        : "=a"(result), "=m"(kernel.ip), "=m"(kernel.sp), "=m"(kernel.bp), "=m"(kernel.bx), "+D"(code)
        : "S"(user_stack + sizeof user_stack)
        : "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    return result;
}

__attribute__((naked)) static void user_read(void) { __asm__("mov eax, dword ptr [0x40001010]\n ud2"); }
__attribute__((naked)) static void user_write(void) { __asm__("mov dword ptr [0x40001010], 0x77\n ud2"); }
__attribute__((naked)) static void user_execute(void) { __asm__("mov eax, 0x40003000\n call rax\n ud2"); }

static void user_and_supervisor(void) {
    tss_load(kPortsClosed);
    interrupt_handle(kInvalidOpcode, leave_ring3);

    *(volatile uint32_t*)(window_frames[1] + 0x10) = 0x55;
    window_map(1, kPresent | kWritable);
    window_expect(1, kPresent | kUser);
    check_equal("ring 3 got the value after the fault", at_ring3(user_read) & 0xffffffff, 0x55);
    window_check_fault("ring 3 reads a supervisor page", kErrorPresent | kErrorUser, window_page(1) + 0x10);

    window_expect(1, kPresent | kWritable | kUser);
    at_ring3(user_write);
    window_check_fault("ring 3 writes to a read-only page", kErrorPresent | kErrorWrite | kErrorUser,
                       window_page(1) + 0x10);
    check_equal("  the value written after it", frame_word32(1, 0x10), 0x77);

    window_map(3, kPresent);
    window_expect(3, kPresent | kUser);
    check_equal("what the code returned at ring 3", at_ring3(user_execute) & 0xffffffff, 42);
    window_check_fault("ring 3 calls code in a supervisor page", kErrorPresent | kErrorUser | kErrorFetch,
                       window_page(3));
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    window_open();
    not_present();
    write_protection();
    no_execute();
    string_instruction();
    accessed_and_dirty();
    user_and_supervisor();
    return check_verdict("pagefault");
}
