// The entry of a 32-bit guest: a stack, segments of our own, then guest_main() in C.
#include "multiboot.inc"

    .intel_syntax noprefix
    multiboot_header

    .text
    .code32
    .globl _start
_start:
    mov esp, OFFSET boot_stack_top
    mov boot_information, ebx
    // The loader's GDT may be gone already (specification, section 3.2): load ours before any segment register.
    lgdt gdt_register
    jmp 0x08:own_segments
own_segments:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    call guest_main
    push eax
    call guest_exit

    .data
    .balign 8
    .globl boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff  // 08h: ring 0, 32-bit code, base 0, limit 4 GiB
    .quad 0x00cf93000000ffff  // 10h: ring 0, data
    .quad 0x00cffb000000ffff  // 18h: ring 3, 32-bit code
    .quad 0x00cff3000000ffff  // 20h: ring 3, data
    .globl boot_gdt_spare
boot_gdt_spare:               // 28h and on: filled in by guests that need more (TSS, LDT, gates ...)
    .fill 27, 8, 0
boot_gdt_end:
gdt_register:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt

    .globl boot_information
boot_information:
    .long 0

    .bss
    .balign 16
    .fill 16384
    .globl boot_stack_top
boot_stack_top:
