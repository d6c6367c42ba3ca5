// The way into a case and out of it again: see cases64.h.
    .intel_syntax noprefix
    .code64

    .equ R_AX, 0
    .equ R_CX, 8
    .equ R_DX, 16
    .equ R_BX, 24
    .equ R_SP, 32
    .equ R_BP, 40
    .equ R_SI, 48
    .equ R_DI, 56
    .equ R_8, 64
    .equ R_IP, 128
    .equ R_CS, 136
    .equ R_FLAGS, 144
    .equ R_SS, 152
    .equ R_DS, 160
    .equ R_ES, 168
    .equ R_FS, 176
    .equ R_GS, 184
    .equ R_FS_BASE, 192
    .equ R_GS_BASE, 200
    .equ R_KERNEL_GS_BASE, 208
    .equ R_CR0, 216
    .equ R_CR4, 224
    .equ R_VECTOR, 232
    .equ R_ERROR, 240
    .equ R_HANDLER_SP, 248

    .equ MSR_FS_BASE, 0xc0000100  // GS_BASE and KERNEL_GS_BASE behind it
    .equ KERNEL_DATA, 0x10
    // The vectors that push an error code (SDM volume 3, table 6-1).
    .equ WITH_ERROR_CODE, 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17

    .bss
    .balign 16
own_stack:
    .fill 8
    .balign 16
    .fill 4096
    .globl safe_stack_top
safe_stack_top:

    .text
.macro write_base index, from
    mov ecx, \index
    mov eax, case_registers + \from
    mov edx, case_registers + \from + 4
    wrmsr
.endm

    .globl enter_case
enter_case:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov own_stack, rsp
    push QWORD PTR case_registers + R_SS
    push QWORD PTR case_registers + R_SP
    push QWORD PTR case_registers + R_FLAGS
    push QWORD PTR case_registers + R_CS
    push QWORD PTR case_registers + R_IP
    mov eax, case_registers + R_DS
    mov ds, eax
    mov eax, case_registers + R_ES
    mov es, eax
    mov eax, case_registers + R_FS
    mov fs, eax
    mov eax, case_registers + R_GS
    mov gs, eax
    write_base MSR_FS_BASE, R_FS_BASE
    write_base MSR_FS_BASE + 1, R_GS_BASE
    write_base MSR_FS_BASE + 2, R_KERNEL_GS_BASE
    mov rax, case_registers + R_CR4
    mov cr4, rax
    mov rax, case_registers + R_CR0
    mov cr0, rax
    mov rax, case_registers + R_AX
    mov rcx, case_registers + R_CX
    mov rdx, case_registers + R_DX
    mov rbx, case_registers + R_BX
    mov rbp, case_registers + R_BP
    mov rsi, case_registers + R_SI
    mov rdi, case_registers + R_DI
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    mov r\n, case_registers + R_8 + 8 * (\n - 8)
    .endr
    iretq

// One entry for each vector, 32 bytes apart. They use no stack: it may be anybody's, and at its end.
    .balign 32
    .globl case_entries
case_entries:
    .set vector, 0
    .rept 32
    .balign 32
    mov case_registers + R_AX, rax
    mov eax, vector
    jmp case_ended
    .set vector, vector + 1
    .endr

case_ended:
    mov case_registers + R_VECTOR, rax
    mov case_registers + R_CX, rcx
    mov case_registers + R_DX, rdx
    mov case_registers + R_BX, rbx
    mov case_registers + R_BP, rbp
    mov case_registers + R_SI, rsi
    mov case_registers + R_DI, rdi
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    mov case_registers + R_8 + 8 * (\n - 8), r\n
    .endr
    mov case_registers + R_HANDLER_SP, rsp
    mov rcx, cr0
    mov case_registers + R_CR0, rcx
    mov rcx, cr4
    mov case_registers + R_CR4, rcx
    // Behind what the CPU pushed is read: SMAP would object.
    mov rcx, own_cr4
    mov cr4, rcx
    mov rcx, own_cr0
    mov cr0, rcx
    sgdt case_gdt
    sidt case_idt
    lgdt own_gdt
    lidt own_idt
    mov ecx, WITH_ERROR_CODE
    bt ecx, eax
    mov rcx, -1
    jnc 1f
    pop rcx
1:  mov case_registers + R_ERROR, rcx
    pop QWORD PTR case_registers + R_IP
    pop QWORD PTR case_registers + R_CS
    pop QWORD PTR case_registers + R_FLAGS
    pop QWORD PTR case_registers + R_SP
    pop QWORD PTR case_registers + R_SS
    mov eax, ds
    mov case_registers + R_DS, rax
    mov eax, es
    mov case_registers + R_ES, rax
    mov eax, fs
    mov case_registers + R_FS, rax
    mov eax, gs
    mov case_registers + R_GS, rax
    mov eax, KERNEL_DATA
    mov ss, eax
    mov rsp, own_stack
    mov ds, eax
    mov es, eax
    cld
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    .data
    .balign 8
    .globl own_cr0, own_cr4, own_gdt, own_idt, case_gdt, case_idt
own_cr0:
    .quad 0
own_cr4:
    .quad 0
own_gdt:
    .fill 16
own_idt:
    .fill 16
case_gdt:
    .fill 16
case_idt:
    .fill 16
