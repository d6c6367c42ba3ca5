// The code that system/selfmod.c changes while it runs.
    .intel_syntax noprefix
    .code64
    .text

// uint32_t change_just_ahead(uint32_t value): the next instruction but one, in the same cache line.
    .balign 64
    .globl change_just_ahead
change_just_ahead:
    mov dword ptr 1f[rip], edi
    nop
    .byte 0xb8                 // mov eax, imm32
1:  .long 0
    ret

// uint32_t change_other_page(uint32_t value)
    .balign 4096
    .globl change_other_page
change_other_page:
    mov dword ptr 1f[rip], edi
    jmp other_page
    .balign 4096
other_page:
    .byte 0xb8
1:  .long 0
    ret

// uint32_t change_through(uint32_t value, uint32_t* operand): `operand` is another address of alias_operand.
    .globl change_through, alias_operand
change_through:
    mov [rsi], edi
    push rbx
    xor eax, eax
    cpuid                      // written through another address, the change is sure to count only behind an
    pop rbx                    // instruction that serializes (Intel SDM volume 3, section 9.1.3)
    xor ecx, ecx
    xor edx, edx
    .byte 0xb8
alias_operand:
    .long 0
    ret

// uint32_t change_by_string(uint32_t value): four REP STOSB-written bytes make up the immediate.
    .globl change_by_string
change_by_string:
    mov edx, edi
    lea rdi, 2f[rip]
    mov eax, edx
    stosb
    shr eax, 8
    stosb
    shr eax, 8
    mov ecx, 2
    rep stosb                  // for small values the upper two bytes are alike: 0
    .byte 0xb8
2:  .long -1
    ret

// uint32_t change_in_loop(uint32_t rounds): adds 1 + 2 + ... + rounds, by an ADD whose immediate the loop counts up.
    .globl change_in_loop
change_in_loop:
    mov dword ptr 2f[rip], 1
    xor eax, eax
1:  .byte 0x05                 // add eax, imm32
2:  .long 1
    inc dword ptr 2b[rip]
    dec edi
    jnz 1b
    ret

// uint32_t change_opcode(void): 1000 + 1 - 1 + 1 - 1 ..., by one instruction that is INC and DEC in turns.
    .globl change_opcode
change_opcode:
    mov eax, 1000
    mov ecx, 100
1:  .byte 0xff                 // inc eax = FF C0, dec eax = FF C8
2:  .byte 0xc0
    xor byte ptr 2b[rip], 0x08
    loop 1b
    ret

// Copied elsewhere, its immediate changed, and called.
    .globl copied_code, copied_code_end
copied_code:
    .byte 0xb8
    .long 0
    ret
copied_code_end:
