// An exception without an interrupt table: its delivery faults, so does the delivery of that double fault, and the
// processor shuts down (Intel SDM volume 3, section 6.15, "Interrupt 8 - Double Fault Exception").
#include "../runtime/multiboot.inc"
    .intel_syntax noprefix
    multiboot_header
    .text
    .code32
    .globl _start
_start:
    lidt no_table
    ud2

    .data
no_table:
    .word 0
    .long 0
