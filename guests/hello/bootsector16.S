// A boot sector: 512 bytes that the firmware loads at 7C00h and runs in real mode. No BIOS call, no disk read: it prints
// on COM1 itself and ends by debug-exit.
    .intel_syntax noprefix
    .equ COM1, 0x3f8
    .equ DEBUG_EXIT, 0xf4

    .text
    .code16
    .globl _start
_start:
    jmp 0:reload_cs            // some firmware starts at 07C0:0000
reload_cs:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    cld
    mov si, OFFSET message
print_next:
    lodsb
    test al, al
    jz done
    mov bl, al
wait_empty:
    mov dx, COM1 + 5           // line status: bit 5, transmitter empty
    in al, dx
    test al, 0x20
    jz wait_empty
    mov al, bl
    mov dx, COM1
    out dx, al
    jmp print_next
done:
    xor al, al
    out DEBUG_EXIT, al
    cli
stop:
    hlt
    jmp stop

message:
    .asciz "Hello from the boot sector\n"

    .org 510
    .byte 0x55, 0xaa           // what makes it a boot sector
