// The guests of the probe: position-independent pieces that are copied to guest address 8000h.
// Ports: F0h says "done" with a byte, F1h is written by the exception stubs with their vector.

    .section .note.GNU-stack, "", @progbits
    .section .rodata

.macro piece name
    .globl probe_\name, probe_\name\()_end
    .hidden probe_\name, probe_\name\()_end
probe_\name:
.endm
.macro end_piece name
probe_\name\()_end:
.endm

// The tight loop: four instructions a round, RCX or ECX rounds.
    .code64
piece loop64
1:  add %rbx, %rax
    xor %rax, %rdx
    dec %rcx
    jnz 1b
    out %al, $0xf0
    hlt
end_piece loop64

    .code32
piece loop32
1:  add %ebx, %eax
    xor %eax, %edx
    dec %ecx
    jnz 1b
    out %al, $0xf0
    hlt
end_piece loop32

    .code16
piece loop16
1:  add %ebx, %eax
    xor %eax, %edx
    dec %ecx
    jnz 1b
    out %al, $0xf0
    hlt
end_piece loop16

// Port exits without end.
    .code64
piece out_loop
1:  out %al, $0xf0
    jmp 1b
end_piece out_loop

// RCX times CPUID leaf 0.
piece cpuid_loop
    mov %rcx, %rsi
1:  xor %eax, %eax
    xor %ecx, %ecx
    cpuid
    dec %rsi
    jnz 1b
    out %al, $0xf0
    hlt
end_piece cpuid_loop

// RCX times UD2; the handler (ud2_handler, at 9000h) steps over it.
piece ud2_loop
1:  ud2
    dec %rcx
    jnz 1b
    out %al, $0xf0
    hlt
end_piece ud2_loop
piece ud2_handler
    addq $2, (%rsp)
    iretq
end_piece ud2_handler

// SYSCALL; its entry (at 9000h) tells the CPL it finds itself at.
piece syscall
    syscall
    hlt
end_piece syscall
piece tell_cpl
    mov %cs, %eax
    and $3, %eax
    out %al, $0xf0
    hlt
end_piece tell_cpl

piece int_n
    int $0x80
    hlt
end_piece int_n

// 32-bit paging is turned on with the tables that CR3 names.
    .code32
piece paging32
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    xor %eax, %eax
    out %al, $0xf0
    hlt
end_piece paging32

    .code64
// CPUID leaf 1: AL := 1 if ECX or EDX has a bit that EBX (ECX part) or ESI (EDX part) does not allow.
piece cpuid_mask
    mov %ebx, %edi
    mov $1, %eax
    cpuid
    and %edi, %ecx
    and %esi, %edx
    or %ecx, %edx
    setnz %al
    out %al, $0xf0
    hlt
end_piece cpuid_mask

piece fwait
    fwait
    xor %eax, %eax
    out %al, $0xf0
    hlt
end_piece fwait

// CMPXCHG16B on the stack.
piece cmpxchg16b
    sub $32, %rsp
    and $-16, %rsp
    xor %eax, %eax
    xor %edx, %edx
    cmpxchg16b (%rsp)
    xor %eax, %eax
    out %al, $0xf0
    hlt
end_piece cmpxchg16b

// Reads the byte at RBX, tells it, waits for user space to change the page tables, reads it again.
piece read_twice
    mov (%rbx), %al
    out %al, $0xf0
    mov (%rbx), %al
    out %al, $0xf0
    hlt
end_piece read_twice

// Eight bytes across the end of a page that is followed by one that is not present.
piece split_write
    movabs $0x1122334455667788, %rax
    mov %rax, (%rbx)
    hlt
end_piece split_write

piece forever
1:  inc %rax
    jmp 1b
end_piece forever

// The handler of an injected interrupt: counts in R8 and goes back.
piece count_handler
    inc %r8
    iretq
end_piece count_handler
