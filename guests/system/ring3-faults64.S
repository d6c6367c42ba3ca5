// The ring-3 code of system/ring3-faults.c. Selectors and pages are those set up there.
#include "../runtime/faults.inc"

    .intel_syntax noprefix
    .code64
    .equ KERNEL_CODE, 0x08
    .equ KERNEL_DATA, 0x10
    .equ NOT_PRESENT_DATA, 0x48
    .equ BEYOND_GDT, 0x1f8
    .equ SUPERVISOR_PAGE, 0x40001000
    .equ READ_ONLY_PAGE, 0x40002000
    .equ NO_PAGE, 0x40003800  // in the middle, so that a push goes there too

    .section .rodata
    .globl guest_name
guest_name:
    .asciz "ring3-faults"

    .text
    .globl raise_user_faults, raise_user_faults_end
raise_user_faults:
    mov eax, 1
    cdq
    xor ecx, ecx
    fault "#DE: division by zero", 0, 0, div ecx
    pushfq
    or qword ptr [rsp], 0x100
    popfq
    trap "#DB: single step", 1, 0, nop
    fault "#UD: UD2", 6, 0, ud2

    // instructions that ring 3 may not use
    fault "#GP: HLT", 13, 0, hlt
    fault "#GP: CLI", 13, 0, cli
    fault "#GP: STI", 13, 0, sti
    fault "#GP: MOV from CR0", 13, 0, mov rax, cr0
    fault "#GP: MOV to CR3", 13, 0, mov cr3, rax
    fault "#GP: MOV to DR7", 13, 0, mov dr7, rax
    fault "#GP: CLTS", 13, 0, clts
    fault "#GP: INVLPG", 13, 0, invlpg [rsp]
    fault "#GP: LGDT", 13, 0, lgdt [rsp]
    fault "#GP: LTR", 13, 0, ltr ax
    mov ecx, 0xc0000080
    fault "#GP: RDMSR", 13, 0, rdmsr
    fault "#GP: WRMSR", 13, 0, wrmsr
    fault "#GP: WBINVD", 13, 0, wbinvd
    mov dx, 0x3f8
    fault "#GP: IN", 13, 0, in al, dx
    fault "#GP: OUT", 13, 0, out dx, al
    lea rsi, 8b[rip]
    fault "#GP: OUTSB", 13, 0, outsb

    // segments
    mov eax, KERNEL_DATA
    fault "#GP: the kernel's data segment", 13, KERNEL_DATA, mov ds, eax
    mov eax, BEYOND_GDT
    fault "#GP: selector beyond the GDT", 13, BEYOND_GDT, mov ds, eax
    mov eax, NOT_PRESENT_DATA | 3
    fault "#NP: segment not present", 11, NOT_PRESENT_DATA, mov es, eax
    xor eax, eax
    fault "#GP: null selector for the stack", 13, 0, mov ss, eax
    push KERNEL_CODE
    lea rax, 9f[rip]
    push rax
    fault "#GP: far return to ring 0", 13, KERNEL_CODE, rex.w retf
    add rsp, 16

    // addresses
    mov rbx, 0x8000000000000000
    fault "#GP: address not canonical", 13, 0, mov rax, [rbx]
    mov ebx, SUPERVISOR_PAGE
    fault "#PF: read of a supervisor page", 14, 5, mov rax, [rbx]
    fault "#PF: write to a supervisor page", 14, 7, mov [rbx], rax
    mov ebx, READ_ONLY_PAGE
    mov rax, [rbx]
    fault "#PF: write to a read-only page", 14, 7, mov [rbx], rax
    mov ebx, NO_PAGE
    fault "#PF: read where no page is", 14, 4, mov rax, [rbx]
    fault "#PF: write where no page is", 14, 6, mov [rbx], rax
    mov rdx, rsp
    mov rsp, rbx
    fault "#PF: push where no page is", 14, 6, push rax
    mov rsp, rdx
    int3
raise_user_faults_end:
    ud2
