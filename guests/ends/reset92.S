// Asks for a reset by port 92h, bit 0 ("fast reset").
#include "../runtime/multiboot.inc"
    .intel_syntax noprefix
    multiboot_header
    .text
    .code32
    .globl _start
_start:
    in al, 0x92
    and al, 0xfe  // the reset comes with the bit's change from 0 to 1
    out 0x92, al
    or al, 1
    out 0x92, al
stop:
    cli
    hlt
    jmp stop
