// 64-bit mode: one entry for each vector, then the common way into C and back; and the way to ring 3.
    .intel_syntax noprefix
    .code64
    .text

// 256 entries of 16 bytes each. Vectors 8, 10 to 14 and 17 push an error code; the others push a 0 in its place.
    .balign 16
    .globl interrupt_entries
interrupt_entries:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17)
    push 0
    .endif
    push vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

interrupt_common:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp               // struct InterruptFrame*
    mov rbx, rsp
    and rsp, -16               // as the calling convention wants it
    cld
    call interrupt_dispatch
    mov rsp, rbx
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16                // vector and error code
    iretq

// void enter_ring3(void (*code)(void), void* stack_top, unsigned long flags): an IRETQ from an interrupt that never was.
    .globl enter_ring3
enter_ring3:
    push 0x23                  // SS: ring-3 data
    sub rsi, 8                 // as after a CALL, which is what a C function expects
    push rsi                   // RSP
    push rdx                   // RFLAGS
    push 0x2b                  // CS: ring-3 64-bit code
    push rdi                   // RIP
    iretq
