// The exceptions of system/exceptions.c, one after the other. Selectors and vectors are those of exceptions.c.
#include "../runtime/faults.inc"

    .intel_syntax noprefix
    .code64
    .equ NOT_PRESENT_DATA, 0x48
    .equ BEYOND_GDT, 0x1f8
    .equ DATA, 0x10
    .equ TSS, 0x30
    .equ SMALL_TSS, 0x50           // a TSS too small for its interrupt-stack table
    .equ SMALL_TSS_VECTOR, 0x31    // its gate wants interrupt stack 7
    .equ DR7_EXECUTE, 0x00000402   // breakpoint 0, globally enabled: on execution
    .equ NO_PAGE, 0x50000000

    .section .rodata
    .globl guest_name
guest_name:
    .asciz "exceptions"

    .text
    .globl raise_exceptions
raise_exceptions:
    push rbx
    push rbp
    mov rbp, rsp

    // --- 0: divide error
    mov eax, 1
    cdq
    xor ecx, ecx
    fault "#DE: division by zero", 0, 0, div ecx
    mov edx, 1
    mov ecx, 1
    fault "#DE: quotient too large", 0, 0, div ecx
    mov eax, 0x80000000
    cdq
    mov ecx, -1
    fault "#DE: smallest number divided by -1", 0, 0, idiv ecx
    mov ax, 0x1234
    xor cl, cl
    fault "#DE: byte division by zero", 0, 0, div cl

    // --- 1: debug
    pushfq
    or qword ptr [rsp], 0x100
    popfq
    trap "#DB: single step", 1, 0, nop
    lea rax, 8f[rip]
    mov dr0, rax
    mov eax, DR7_EXECUTE
    mov dr7, rax
    fault "#DB: breakpoint on execution", 1, 0, nop
    xor eax, eax
    mov dr7, rax

    // --- 3 and INT n
    trap "#BP: INT3", 3, 0, int3
    trap "INT 3, the long form", 3, 0, .byte 0xcd, 3
    trap "INT 2", 2, 0, int 2
    trap "INT 4", 4, 0, int 4

    // --- 6: invalid opcode
    fault "#UD: UD2", 6, 0, ud2
    fault "#UD: LOCK on a register", 6, 0, .byte 0xf0, 0x01, 0xc0
    fault "#UD: PUSH ES in 64-bit mode", 6, 0, .byte 0x06
    fault "#UD: INTO in 64-bit mode", 6, 0, .byte 0xce
    fault "#UD: far JMP with immediate in 64-bit mode", 6, 0, .byte 0xea, 0, 0, 0, 0, 0, 0
    fault "#UD: MOV to CS", 6, 0, .byte 0x8e, 0xc8
    fault "#UD: control register 1", 6, 0, .byte 0x0f, 0x20, 0xc8

    // --- 10: invalid TSS
    mov eax, SMALL_TSS
    ltr ax
    fault "#TS: TSS too small for the interrupt's stack", 10, SMALL_TSS, int SMALL_TSS_VECTOR
    xor edi, edi                   // kPortsClosed
    call tss_load

    // --- 11: segment not present
    mov eax, NOT_PRESENT_DATA
    fault "#NP: segment not present", 11, NOT_PRESENT_DATA, mov ds, eax

    // --- 12: stack fault
    fault "#SS: stack segment not present", 12, NOT_PRESENT_DATA, mov ss, eax

    // --- 13: general protection
    mov rbx, 0x8000000000000000
    fault "#GP: address not canonical", 13, 0, mov rax, [rbx]
    mov eax, BEYOND_GDT
    fault "#GP: selector beyond the GDT", 13, BEYOND_GDT, mov ds, eax
    mov eax, 0x08
    fault "#GP: code segment as stack", 13, 0x08, mov ss, eax
    mov eax, 0x13
    fault "#GP: stack with RPL 3 at ring 0", 13, 0x10, mov ss, eax
    mov eax, TSS
    fault "#GP: LTR with a TSS that is busy", 13, TSS, ltr ax
    push DATA
    lea rax, 9f[rip]
    push rax
    fault "#GP: far return to a data segment", 13, DATA, rex.w retf
    add rsp, 16

    // --- 14: page fault
    mov ebx, NO_PAGE
    fault "#PF: read where no page is", 14, 0, mov ecx, [rbx]
    fault "#PF: write where no page is", 14, 2, mov [rbx], ecx

    // --- 8: double fault
    mov edi, 13
    call interrupt_gate_remove
    mov rbx, 0x8000000000000000
    fault "#DF: #GP without a gate", 8, 0, mov rax, [rbx]
    mov edi, 13
    xor esi, esi
    xor edx, edx
    call interrupt_gate
    cmp eax, eax                   // no flag is left undefined in the frame, which engines are compared by
    mov esp, NO_PAGE
    fault "#DF: #PF without a stack", 8, 0, mov rax, [rsp]

    mov rsp, rbp
    pop rbp
    pop rbx
    ret
