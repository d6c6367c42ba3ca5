// tables.c's program of 32 bits at ring 3, and instructions that may fault.
    .intel_syntax noprefix
    .text

    .globl enter_program
enter_program:
    push 0x23                 // SS
    push 0x700000             // ESP
    push 2                    // EFLAGS: IOPL 0, so that the bitmap decides
    push 0x1b                 // CS: 32-bit code
    lea rax, program[rip]
    push rax
    iretq

    .code32
program:
    int 0x30
    mov dx, 0x7cff
    in eax, dx
    int 0x31

    .code64
// uint64_t load_or_fault(const volatile void* address)
    .globl load_or_fault
load_or_fault:
    push rbx
    lea rbx, 1f[rip]
    mov rax, [rdi]
1:  pop rbx
    ret

// void verify_or_fault(uint16_t selector)
    .globl verify_or_fault
verify_or_fault:
    push rbx
    lea rbx, 1f[rip]
    verr di
1:  pop rbx
    ret
