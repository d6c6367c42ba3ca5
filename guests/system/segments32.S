// Selectors, the LDT, gates and rings in 32-bit protected mode: for system/segments.c.
#include "../runtime/faults.inc"
#include "segments.inc"

    .intel_syntax noprefix
    .code32

    .section .rodata
    .globl guest_name
guest_name:
    .asciz "segments"

    .text
    .globl use_segments
use_segments:
    // --- loading selectors
    mov eax, NOT_PRESENT_DATA
    fault "#NP: segment not present", 11, NOT_PRESENT_DATA, mov ds, eax
    fault "#SS: stack segment not present", 12, NOT_PRESENT_DATA, mov ss, eax
    mov eax, BEYOND_GDT
    fault "#GP: selector beyond the GDT", 13, BEYOND_GDT, mov fs, eax
    xor eax, eax
    fault "#GP: null selector for the stack", 13, 0, mov ss, eax
    mov gs, eax                    // for data it is allowed
    mov eax, READ_ONLY
    fault "#GP: read-only segment for the stack", 13, READ_ONLY, mov ss, eax
    mov eax, EXECUTE_ONLY
    fault "#GP: execute-only segment for data", 13, EXECUTE_ONLY, mov ds, eax
    mov eax, USER_DATA
    fault "#GP: ring-3 segment for the stack of ring 0", 13, USER_DATA-3, mov ss, eax
    mov eax, GATE_RING0
    fault "#GP: gate for data", 13, GATE_RING0, mov ds, eax
    fault "#GP: far jump to a data segment", 13, KERNEL_DATA, jmp KERNEL_DATA:0
    fault "#GP: far call to ring-3 code", 13, USER_CODE-3, call USER_CODE:0
    fault "#GP: far jump by a null selector", 13, 0, jmp 0:0
    fault "#GP: far jump behind the limit of its segment", 13, 0, jmp CODE16:0x10000

    // --- bases
    mov eax, SMALL_DATA
    mov fs, eax
    movzx eax, byte ptr fs:[0x10]
    mov result_base, eax

    // --- the LDT
    xor eax, eax
    lldt ax
    mov eax, LDT_DATA
    fault "#GP: LDT selector without an LDT", 13, LDT_DATA, mov fs, eax
    mov eax, KERNEL_DATA
    fault "#GP: LLDT of a data segment", 13, KERNEL_DATA, lldt ax
    mov eax, LDT
    lldt ax
    mov eax, BEYOND_LDT
    fault "#GP: selector beyond the LDT", 13, BEYOND_LDT, mov fs, eax
    mov eax, LDT_DATA
    mov fs, eax
    movzx eax, byte ptr fs:[0x10]
    mov result_ldt, eax

    // --- asking about selectors
    mov eax, SMALL_DATA
    lsl ecx, eax
    mov result_lsl, ecx
    lar ecx, eax
    and ecx, 0xf0fe00              // without the accessed bit, and the limit's part, which is undefined
    mov result_lar, ecx
    mov eax, BEYOND_GDT
    lar ecx, eax
    setz byte ptr result_lar_beyond
    mov eax, EXECUTE_ONLY
    verr ax
    setz byte ptr result_verr
    mov eax, SMALL_DATA
    verw ax
    setz byte ptr result_verw
    mov eax, 0x08
    mov ecx, 3
    arpl ax, cx
    mov result_arpl, eax

    // --- gates within ring 0, and 16-bit code
    call GATE_RING0:0x12345678     // a gate has its own offset
    mov result_gate, eax
    fault "#NP: gate not present", 11, GATE_NOT_PRESENT, call GATE_NOT_PRESENT:0
    mov eax, -1
    call CODE16:0
    mov result_code16, eax

    // --- to ring 3, by a far return to an outer ring
    push USER_DATA
    push OFFSET user_stack_top
    push USER_CODE
    push OFFSET ring3
    retf

    .globl same_ring
same_ring:                         // CS:EIP of the caller, nothing else
    mov eax, [esp + 4]
    retf

    .globl code16
    .code16
code16:
    mov ax, 0x1234                 // three bytes, and the upper half of EAX stays
    retfd
    .code32

ring3:
    mov ecx, ds                    // far return takes away what ring 3 may not have: DS was ring 0's
    mov eax, USER_DATA
    mov ds, eax
    mov es, eax
    mov result_ds3, ecx
    mov result_cs3, cs

    mov eax, KERNEL_DATA
    fault "#GP: ring-0 data from ring 3", 13, KERNEL_DATA, mov fs, eax
    fault "#GP: ring-0 code from ring 3", 13, KERNEL_CODE, call KERNEL_CODE:0
    fault "#GP: ring-0 gate from ring 3", 13, GATE_RING0, call GATE_RING0:0
    fault "#GP: CLI at ring 3", 13, 0, cli

    call CONFORMING:conforming
    mov result_conforming, eax

    push 0x11111111
    push 0x22222222
    call GATE_USER:0
    mov edx, ds
    mov ecx, USER_DATA
    mov ds, ecx
    mov result_after_ds, edx
    mov result_after_esp, esp
    mov result_after_ss, ss
    mov result_inner, eax
    int3

conforming:                        // ring-0 code, running at the caller's ring
    mov eax, cs
    retf

    .globl inner_ring
inner_ring:                        // on the TSS's ring-0 stack: EIP, CS, two parameters, ESP, SS of the caller
    mov eax, KERNEL_DATA
    mov ds, eax
    mov result_inner_cs, cs
    mov result_inner_ss, ss
    mov eax, [esp + 4]
    mov result_caller_cs, eax
    mov eax, [esp + 16]
    mov result_caller_esp, eax
    mov eax, [esp + 20]
    mov result_caller_ss, eax
    mov eax, [esp + 12]
    sub eax, [esp + 8]             // first parameter minus second
    retf 8                         // drops the parameters from both stacks

// --- what came out: result NAME, what it is, what it should be
.macro result name, what, expected
    .bss
    .balign 4
result_\name:
    .fill 4
    .section .rodata
7:  .asciz "\what"
    .section .results, "a"
    .long 7b, result_\name, \expected
.endm

    .section .results, "a"
results:
    result base, "a segment's base is added", 0x10
    result ldt, "so is that of a segment in the LDT", 0x11
    result lsl, "LSL: limit in bytes", 0xfff
    result lar, "LAR: access rights", 0x409200
    result lar_beyond, "LAR of a selector beyond the GDT", 0
    result verr, "VERR of an execute-only segment", 0
    result verw, "VERW of a writable segment", 1
    result arpl, "ARPL raises the RPL", 0x0b
    result gate, "call gate: CS of the caller", KERNEL_CODE
    result code16, "16-bit code: only AX is changed", 0xffff1234
    result cs3, "ring 3: CS", USER_CODE
    result ds3, "ring 3: DS of ring 0 has become null", 0
    result conforming, "conforming code runs at ring 3", CONFORMING+3
    result inner_cs, "call gate to ring 0: CS", KERNEL_CODE
    result inner_ss, "call gate to ring 0: SS from the TSS", KERNEL_DATA
    result caller_cs, "call gate to ring 0: the caller's CS", USER_CODE
    result caller_esp, "call gate to ring 0: the caller's ESP", user_stack_top-8
    result caller_ss, "call gate to ring 0: the caller's SS", USER_DATA
    result inner, "call gate to ring 0: parameters copied", 0xeeeeeeef
    result after_ds, "back at ring 3: DS has become null", 0
    result after_esp, "back at ring 3: parameters dropped", user_stack_top
    result after_ss, "back at ring 3: SS", USER_DATA
    .section .results, "a"
results_end:

    .text
    .globl check_results
check_results:
    push ebx
    mov ebx, OFFSET results
1:  mov eax, [ebx + 4]
    push [ebx + 8]
    push [eax]
    push [ebx]
    call check_equal
    add esp, 12
    add ebx, 12
    cmp ebx, OFFSET results_end
    jne 1b
    pop ebx
    ret

    .bss
    .balign 4096
    .fill 4096
    .globl small_stack_end
small_stack_end:                   // a page boundary, where the segment SMALL_STACK ends
user_stack_top:
