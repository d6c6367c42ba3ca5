// Limits and access rights of segments, checked at each access: for system/segments.c.
#include "../runtime/faults.inc"
#include "segments.inc"

    .intel_syntax noprefix
    .code32

    .section .rodata
    .globl guest_name
guest_name:
    .asciz "limits"

    .text
    .globl use_segments, check_results, same_ring, inner_ring, code16
use_segments:
    mov eax, SMALL_DATA
    mov fs, eax
    mov al, fs:[0xfff]             // the last byte is allowed
    fault "#GP: byte behind the limit", 13, 0, mov al, fs:[0x1000]
    mov eax, fs:[0xffc]
    fault "#GP: 4 bytes, the last behind the limit", 13, 0, mov eax, fs:[0xffd]
    fault "#GP: write behind the limit", 13, 0, mov fs:[0x1000], al
    fault "#GP: offset FFFFFFFFh", 13, 0, mov al, fs:[0xffffffff]
    mov eax, SMALL_DATA
    mov es, eax
    mov edi, 0xff8
    mov ecx, 16
    xor eax, eax
    cld
    fault "#GP: REP STOSB runs behind the limit", 13, 0, rep stosb
    mov stosb_count, ecx
    mov stosb_address, edi
    mov eax, KERNEL_DATA
    mov es, eax

    mov eax, EXPAND_DOWN
    mov gs, eax
    mov al, gs:[0x1000]            // the first byte above the limit is allowed
    fault "#GP: expand-down, byte at the limit", 13, 0, mov al, gs:[0xfff]
    fault "#GP: expand-down, 4 bytes from the limit on", 13, 0, mov eax, gs:[0xfff]
    fault "#GP: expand-down, offset 0", 13, 0, mov al, gs:[0]
    mov eax, EXPAND_DOWN16
    mov gs, eax
    mov al, gs:[0xffff]
    fault "#GP: expand-down with B = 0, above FFFFh", 13, 0, mov al, gs:[0x10000]

    mov eax, READ_ONLY
    mov fs, eax
    mov al, fs:[0]
    fault "#GP: write to a read-only segment", 13, 0, mov fs:[0], al
    fault "#GP: read and write of a read-only segment", 13, 0, add byte ptr fs:[0], 0
    fault "#GP: write to the code segment", 13, 0, mov byte ptr cs:[stosb_count], 0
    xor eax, eax
    mov fs, eax
    fault "#GP: access by a null selector", 13, 0, mov al, fs:[0]

    // The stack: a segment that ends where the stack begins.
    mov edx, esp
    mov eax, SMALL_STACK
    mov ss, eax
    mov esp, OFFSET small_stack_end
    push 1                         // the highest 4 bytes
    pop eax
    mov ebp, OFFSET small_stack_end
    fault "#SS: read by EBP behind the limit", 12, 0, mov al, [ebp]
    fault "#SS: POP behind the limit", 12, 0, pop eax
    mov eax, KERNEL_DATA
    mov ss, eax
    mov esp, edx
    int3

check_results:
    push 8
    push stosb_count
    push OFFSET stosb_count_name
    call check_equal
    add esp, 12
    push 0x1000
    push stosb_address
    push OFFSET stosb_address_name
    call check_equal
    add esp, 12
    ret

same_ring:
inner_ring:
    ud2                            // the gates are not used here
code16:
    ud2

    .section .rodata
stosb_count_name:
    .asciz "ECX after the REP STOSB that faulted"
stosb_address_name:
    .asciz "EDI after it"

    .bss
    .balign 4
stosb_count:
    .fill 4
stosb_address:
    .fill 4

    .balign 4096
    .fill 4096
    .globl small_stack_end
small_stack_end:
