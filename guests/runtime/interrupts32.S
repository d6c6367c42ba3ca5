// 32-bit protected mode: one entry for each vector, then the common way into C and back.
    .intel_syntax noprefix
    .code32
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
    push eax
    push ecx
    push edx
    push ebx
    push ebp
    push esi
    push edi
    mov eax, esp
    push ds
    push es
    mov ebx, 0x10              // the interrupted code may have had other segments
    mov ds, ebx
    mov es, ebx
    cld
    push eax                   // struct InterruptFrame*
    call interrupt_dispatch
    add esp, 4
    pop es
    pop ds
    pop edi
    pop esi
    pop ebp
    pop ebx
    pop edx
    pop ecx
    pop eax
    add esp, 8                 // vector and error code
    iretd
