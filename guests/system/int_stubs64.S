    .intel_syntax noprefix
    .code64
    .text

// INT n for n = 0 to 255, each 16 bytes behind the one before.
    .balign 16
    .globl int_stubs
int_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .byte 0xcd, vector
    ret
    .set vector, vector + 1
    .endr
