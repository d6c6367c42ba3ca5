// Asks for a reset by the reset-control register at port CF9h: bit 1 says a hard one, bit 2's change to 1 does it.
#include "../runtime/multiboot.inc"
    .intel_syntax noprefix
    multiboot_header
    .text
    .code32
    .globl _start
_start:
    mov dx, 0xcf9
    mov al, 0x02
    out dx, al
    mov al, 0x06
    out dx, al
stop:
    cli
    hlt
    jmp stop
