// The entry of a 64-bit guest: from Multiboot's 32-bit protected mode into long mode, then guest_main() in C.
// Intel SDM volume 3, section 10.8.5 "Initializing IA-32e Mode", gives the order of the steps.
#include "multiboot.inc"

    .intel_syntax noprefix
    .equ CR4_PAE, 1 << 5
    .equ CR0_PG, 1 << 31
    .equ MSR_EFER, 0xc0000080
    .equ EFER_LME, 1 << 8

    multiboot_header

    .text
    .code32
    .globl _start
_start:
    mov boot_information, ebx

    mov eax, cr4               // 1. physical address extension: 64-bit page-table entries
    or eax, CR4_PAE
    mov cr4, eax

    mov eax, OFFSET boot_pml4  // 2. the page tables
    mov cr3, eax

    mov ecx, MSR_EFER          // 3. long mode enable
    rdmsr
    or eax, EFER_LME
    wrmsr

    mov eax, cr0               // 4. paging on: long mode is active, in its 32-bit compatibility form
    or eax, CR0_PG
    mov cr0, eax

    lgdt gdt_register          // 5. a code segment with the L bit: 64-bit mode
    jmp 0x08:long_mode

    .code64
long_mode:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    lea rsp, boot_stack_top[rip]
    call guest_main
    mov edi, eax
    call guest_exit

    .data
    .balign 16
    .globl boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff  // 08h: ring 0, 64-bit code
    .quad 0x00cf93000000ffff  // 10h: ring 0, data
    .quad 0x00cffb000000ffff  // 18h: ring 3, 32-bit code    } in the order
    .quad 0x00cff3000000ffff  // 20h: ring 3, data           } that SYSRET
    .quad 0x00affb000000ffff  // 28h: ring 3, 64-bit code    } wants
    .globl boot_gdt_spare
boot_gdt_spare:
    .quad 0, 0                // 30h: the TSS, filled in by tss_load()
    .fill 8, 8, 0             // 40h and on: for guests that need more
boot_gdt_end:
gdt_register:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .globl boot_information
boot_information:
    .quad 0

// The first GiB, mapped one to one with 2 MiB pages, for both rings. The assembler fills the tables in, so that a guest
// starts at once even where ring 0 is slow. Entry bits: present 1, writable 2, user 4, large page 80h.
    .balign 4096
    .globl boot_pml4
boot_pml4:
    .quad boot_pdpt + 7
    .fill 511, 8, 0
    .globl boot_pdpt
boot_pdpt:
    .quad boot_pd + 7
    .fill 511, 8, 0
    .globl boot_pd
boot_pd:
    .set address, 0
    .rept 512
    .quad address + 0x87
    .set address, address + 0x200000
    .endr

    .bss
    .balign 16
    .fill 16384
    .globl boot_stack_top
boot_stack_top:
