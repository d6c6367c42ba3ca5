// Hello from real mode: a Multiboot kernel that goes back from 32-bit protected mode to 16-bit real mode.
// Intel SDM volume 3, section 10.9.2 "Switching Back to Real-Address Mode", gives the order of the steps.
#include "../runtime/multiboot.inc"

    .intel_syntax noprefix
    .equ REAL_BASE, 0x8000  // where the 16-bit part runs: real mode reaches only the first MiB
    .equ COM1, 0x3f8
    .equ DEBUG_EXIT, 0xf4

    multiboot_header

    .text
    .code32
    .globl _start
_start:
    mov esi, OFFSET real_part  // bring the 16-bit part down below 1 MiB
    mov edi, REAL_BASE
    mov ecx, OFFSET real_part_end - real_part
    cld
    rep movsb

    lgdt gdt_register
    lidt real_idt_register     // real mode's interrupt table: 256 far pointers at 0
    jmp 0x08:REAL_BASE         // 1. a 16-bit code segment, limit FFFFh

    .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00009b000000ffff  // 08h: 16-bit code, base 0, limit FFFFh
    .quad 0x000093000000ffff  // 10h: data with the limit that real mode wants, FFFFh
gdt_register:
    .word gdt_register - gdt - 1
    .long gdt
real_idt_register:
    .word 0x3ff
    .long 0

// --- the 16-bit part, which runs at REAL_BASE ---
real_part:
    .code16
    mov ax, 0x10               // 2. segments with limit FFFFh: the hidden parts outlive the switch
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov eax, cr0               // 3. protection off
    and al, 0xfe
    mov cr0, eax
    jmp 0:REAL_BASE + (in_real_mode - real_part)  // 4. a far jump loads CS the real-mode way

in_real_mode:
    xor ax, ax                 // 5. segment registers hold paragraph numbers now
    mov ss, ax
    mov sp, 0x7000
    mov ax, REAL_BASE >> 4
    mov ds, ax
    mov es, ax

    mov si, OFFSET message - real_part
    cld
print_next:
    lodsb
    test al, al
    jz done
    call print_character
    jmp print_next
done:
    xor al, al                 // success
    out DEBUG_EXIT, al
    cli
stop:
    hlt
    jmp stop

print_character:               // AL to COM1
    push ax
wait_empty:
    mov dx, COM1 + 5           // line status: bit 5, transmitter empty
    in al, dx
    test al, 0x20
    jz wait_empty
    pop ax
    mov dx, COM1
    out dx, al
    ret

message:
    .asciz "Hello from 16-bit real mode\n"
real_part_end:
