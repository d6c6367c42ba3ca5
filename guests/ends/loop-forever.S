// Jumps to itself for ever.
#include "../runtime/multiboot.inc"
    .intel_syntax noprefix
    multiboot_header
    .text
    .code32
    .globl _start
_start:
    jmp _start
