// Interrupts off and HLT: the guest is over, without a word.
#include "../runtime/multiboot.inc"
    .intel_syntax noprefix
    multiboot_header
    .text
    .code32
    .globl _start
_start:
    cli
    hlt
    jmp _start
