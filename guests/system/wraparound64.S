// wraparound.c's 32-bit code at ring 0.
    .intel_syntax noprefix
    .text

// Leaves for the far pointer at \to; comes back at \back, which the far pointer way_back names.
    .macro leave_for to, back
    lea rax, \back[rip]
    mov way_back[rip], eax
    jmp fword ptr \to[rip]
    .endm

// void store_across(void)
    .globl store_across
store_across:
    push rbx
    leave_for store32_pointer, 1f
1:  pop rbx
    ret

    .code32
store32:
    mov ax, 0x48
    mov fs, ax
    mov edi, 4
    pcmpeqb mm0, mm0
    pcmpeqb mm1, mm1
    .byte 0x64                // FS
    maskmovq mm0, mm1
    emms
    jmp fword ptr [way_back]

    .code64
// uint32_t execute_across(void)
    .globl execute_across
execute_across:
    push rbx
    leave_for execute32_pointer, 1f
1:  mov eax, ebx
    pop rbx
    ret

    .data
    .balign 8
    .globl way_back
way_back:
    .long 0
    .word 8
    .balign 8
store32_pointer:
    .long store32
    .word 0x40
execute32_pointer:
    .long 0xffe               // FFFFFFFEh, by the segment's base
    .word 0x50
