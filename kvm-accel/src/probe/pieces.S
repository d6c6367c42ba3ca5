// The probe's pieces of guest code: position-independent, copied into a Lab and run there (see pieces.h).
// OUT to port 80h says "done".

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
.macro done
    out %al, $0x80
    hlt
.endm

// What every exception does unless it has a handler: OUT to port C0h + vector. Eight bytes each, 64 of them.
    .code64
piece handlers
    .set vector, 0
    .rept 64
    out %al, $(0xc0 + vector)
    hlt
    jmp . - 1
    .fill 3, 1, 0x90
    .set vector, vector + 1
    .endr
end_piece handlers

// ECX rounds of two instructions. In 32-bit mode the bytes mean the same.
piece loop
1:  dec %ecx
    jnz 1b
    done
end_piece loop
    .code16
piece loop16
1:  dec %ecx
    jnz 1b
    done
end_piece loop16
    .code64

piece nops
    nop
    nop
    nop
    done
end_piece nops

// Port exits without end.
piece out_loop
1:  out %al, $0x80
    jmp 1b
end_piece out_loop

// ESI times CPUID leaf 0.
piece cpuid_loop
1:  xor %eax, %eax
    xor %ecx, %ecx
    cpuid
    dec %esi
    jnz 1b
    done
end_piece cpuid_loop

// ESI times UD2; its handler steps over it.
piece ud2_loop
1:  ud2
    dec %esi
    jnz 1b
    done
end_piece ud2_loop
piece ud2_handler
    addq $2, (%rsp)
    iretq
end_piece ud2_handler

// SYSCALL; its entry is on a page for ring 0 alone.
piece syscall
    syscall
end_piece syscall
piece syscall_entry
    done
end_piece syscall_entry

piece int_n
    int $0x30
end_piece int_n

piece cli
    cli
    done
end_piece cli

// 32-bit paging is turned on, with the tables that CR3 names.
    .code32
piece paging32
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    done
end_piece paging32
    .code64

piece pcid
    mov %cr4, %rax
    bts $17, %rax
    mov %rax, %cr4
    done
end_piece pcid

// ECX of CPUID leaf 1 goes to user space.
piece cpuid_features
    mov $1, %eax
    cpuid
    mov %ecx, %eax
    out %eax, $0x80
    hlt
end_piece cpuid_features

// Reads the byte at RBX and tells it, again and again.
piece read_loop
1:  mov (%rbx), %al
    out %al, $0x80
    jmp 1b
end_piece read_loop

// Eight bytes to RBX, across the end of a page.
piece split_write
    mov $-1, %rax
    mov %rax, (%rbx)
    done
end_piece split_write

piece forever
1:  jmp 1b
end_piece forever
// The handler of an injected interrupt: counts in R8.
piece count_handler
    inc %r8
    iretq
end_piece count_handler

// Single instructions; RBX points to 16-byte aligned memory.
.macro try name, instruction:vararg
piece \name
    \instruction
    done
end_piece \name
.endm
try fwait, fwait
try fninit, fninit
try fxsave, fxsave (%rbx)
try cmpxchg16b, cmpxchg16b (%rbx)
try movbe, movbe (%rbx), %eax
try popcnt, popcnt %eax, %eax
try movdqa, movdqa (%rbx), %xmm0
try paddb, paddb %xmm0, %xmm0
try rdrand, rdrand %eax
try clwb, clwb (%rbx)
