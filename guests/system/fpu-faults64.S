// The exceptions around the x87 unit, for system/exceptions.c. Its own guest, since an engine may have no x87.
#include "../runtime/faults.inc"

    .intel_syntax noprefix
    .code64
    .equ CR0_MP, 1 << 1            // WAIT obeys TS
    .equ CR0_EM, 1 << 2            // no x87: every x87 instruction is #NM
    .equ CR0_TS, 1 << 3            // task switched: the same, until CLTS
    .equ CR0_NE, 1 << 5            // x87 errors are #MF
    .equ UNMASK_DIVISION, 0x037b   // control word: division by zero is not masked

    .section .rodata
    .globl guest_name
guest_name:
    .asciz "fpu-faults"
division_unmasked:
    .word UNMASK_DIVISION

    .text
    .globl raise_exceptions
raise_exceptions:
    mov rax, cr0
    and eax, ~CR0_EM
    or eax, CR0_TS | CR0_MP | CR0_NE
    mov cr0, rax
    fault "#NM: x87 instruction with CR0.TS", 7, 0, fnop
    fault "#NM: WAIT with CR0.TS and CR0.MP", 7, 0, fwait
    mov rax, cr0
    and eax, ~CR0_MP
    mov cr0, rax
    fwait                          // without MP, WAIT does not care
    clts
    mov rax, cr0
    or eax, CR0_EM
    mov cr0, rax
    fault "#NM: x87 instruction with CR0.EM", 7, 0, fnop
    mov rax, cr0
    and eax, ~CR0_EM
    mov cr0, rax

    // An x87 error waits for the next x87 instruction that looks. (TCG: for the next WAIT only; strict64.S has the rest.)
    fninit
    fldcw division_unmasked[rip]
    fld1
    fldz
    fdivp
    fault "#MF: WAIT after a division by zero", 16, 0, fwait
    fnclex
    fld1
    fninit
    ret
