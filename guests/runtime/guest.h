// What every guest written in C has: its main function, a serial port to print on, a way to end, and its command line.
// The same header and sources serve 32- and 64-bit guests; `unsigned long` is the word of each.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The guest itself. What it returns goes to guest_exit().
int guest_main(void);

// Ends the guest with v at the debug-exit port: the process ends with status (v << 1) | 1. 0 is success, 1 failure.
_Noreturn void guest_exit(int v);

// COM1 at 115200 baud, 8N1, by polling.
void serial_open(void);
void print(const char* text);
void print_character(char character);
void print_decimal(unsigned long value);
void print_hex(unsigned long value, unsigned digits);

// "size=100 ring=3": the number behind `key` on the guest's command line (decimal, or hexadecimal behind 0x), or
// `otherwise` where the key is not there.
unsigned long command_line_number(const char* key, unsigned long otherwise);
