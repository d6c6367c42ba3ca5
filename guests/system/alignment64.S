// Alignment checks at ring 3, for system/ring3-faults.c; a guest of its own since QEMU's TCG does not make them.
#include "../runtime/faults.inc"

    .intel_syntax noprefix
    .code64

    .section .rodata
    .globl guest_name
guest_name:
    .asciz "alignment"

    .text
    .globl raise_user_faults, raise_user_faults_end
raise_user_faults:
    pushfq
    or qword ptr [rsp], 1 << 18    // AC; the kernel has set CR0.AM
    popfq
    fault "#AC: 4-byte read, not aligned", 17, 0, mov eax, [rsp + 1]
    fault "#AC: 2-byte write, not aligned", 17, 0, mov [rsp + 1], ax
    fault "#AC: 8-byte addition, aligned to 4", 17, 0, add [rsp + 4], rax
    mov eax, [rsp + 4]             // none of these
    mov al, [rsp + 1]
    mov rax, [rsp]
    pushfq
    and qword ptr [rsp], ~(1 << 18)
    popfq
    mov eax, [rsp + 1]             // nor without AC
    int3
raise_user_faults_end:
    ud2
