// More exceptions for system/exceptions.c: those in which QEMU 7.2's TCG does not do what the manual says, so that QEMU
// cannot be the referee. Selectors and vectors are those of exceptions.c.
#include "../runtime/faults.inc"

    .intel_syntax noprefix
    .code64
    .equ NOT_PRESENT_VECTOR, 0x32  // an interrupt gate with P = 0
    .equ NO_GATE_VECTOR, 0x33      // nothing there: type 0
    .equ CR4_RESERVED, 1 << 15
    .equ MSR_UNKNOWN, 0x40001234
    .equ CR0_NE, 1 << 5            // x87 errors are #MF
    .equ UNMASK_DIVISION, 0x037b   // control word: division by zero is not masked

    .section .rodata
    .globl guest_name
guest_name:
    .asciz "strict"
division_unmasked:
    .word UNMASK_DIVISION

    .text
    .globl raise_exceptions
raise_exceptions:
    push rbx
    push rbp
    mov rbp, rsp

    // #UD in TCG.
    trap "#DB: INT1", 1, 0, .byte 0xf1

    // TCG's error code has twice the vector's index, in 64-bit mode.
    fault "#NP: gate not present", 11, NOT_PRESENT_VECTOR*8+2, int NOT_PRESENT_VECTOR
    fault "#GP: no gate", 13, NO_GATE_VECTOR*8+2, int NO_GATE_VECTOR
    sidt idt_register[rip]
    mov ax, idt_register[rip]
    mov word ptr idt_register[rip], 64 * 16 - 1
    lidt idt_register[rip]
    fault "#GP: INT beyond the IDT", 13, 0x80*8+2, int 0x80
    mov idt_register[rip], ax
    lidt idt_register[rip]

    // #GP in TCG.
    mov rbx, 0x8000000000000000
    mov rbp, rbx
    fault "#SS: address not canonical, based on RBP", 12, 0, mov rax, [rbp]
    mov rbp, rsp
    mov rax, 0x7ffffffffffffffc
    mov ebx, 4
    fault "#GP: sum of base and index not canonical", 13, 0, mov rcx, [rax + rbx]

    // Not checked by TCG.
    mov rax, cr4
    or eax, CR4_RESERVED
    fault "#GP: reserved bit of CR4", 13, 0, mov cr4, rax
    mov eax, 0x80000000
    fault "#GP: CR0 with paging but no protection", 13, 0, mov cr0, rax

    mov ecx, MSR_UNKNOWN
    fault "#GP: RDMSR of an MSR that is not there", 13, 0, rdmsr

    // TCG lets the error pass until a WAIT.
    mov rax, cr0
    or eax, CR0_NE
    mov cr0, rax
    fninit
    fldcw division_unmasked[rip]
    fld1
    fldz
    fdivp
    fault "#MF: the x87 instruction after a division by zero", 16, 0, fld1
    fninit

    mov rsp, rbp
    pop rbp
    pop rbx
    ret

    .bss
    .balign 16
idt_register:
    .fill 16
