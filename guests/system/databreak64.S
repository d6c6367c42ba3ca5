// Data breakpoints, for system/exceptions.c: traps, reported behind the instruction that made the access (Intel SDM volume
// 3, section 17.2.4). A guest of its own: neither QEMU's TCG nor the emulator of Linux's KVM sees the accesses.
#include "../runtime/faults.inc"

    .intel_syntax noprefix
    .code64
    .equ WRITE_4_BYTES, 0x000d0402   // DR7: breakpoint 0, globally enabled
    .equ ACCESS_2_BYTES, 0x00070402

    .section .rodata
    .globl guest_name
guest_name:
    .asciz "databreak"

    .text
    .globl raise_exceptions
raise_exceptions:
    lea rcx, watched[rip]
    mov dr0, rcx
    mov eax, WRITE_4_BYTES
    mov dr7, rax
    trap "#DB: write", 1, 0, mov dword ptr [rcx], 1
    trap "#DB: write of the last byte", 1, 0, mov byte ptr [rcx + 3], 1
    trap "#DB: write that begins in front", 1, 0, mov qword ptr [rcx - 4], rax
    mov eax, [rcx]                   // none of these three
    mov dword ptr [rcx + 4], 1
    mov dword ptr [rcx - 4], 1
    mov eax, ACCESS_2_BYTES
    mov dr7, rax
    trap "#DB: read", 1, 0, mov al, [rcx + 1]
    trap "#DB: read and write", 1, 0, add word ptr [rcx], 1
    mov al, [rcx + 2]                // nor this
    xor eax, eax
    mov dr7, rax
    ret

    .bss
    .balign 16
    .fill 8
    .balign 16
watched:
    .fill 16
