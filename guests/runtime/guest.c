// Printing, ending and the command line: see guest.h.
#include "guest.h"

#include "ports.h"

enum { kDebugExitPort = 0xf4 };

// 16550 UART at COM1 (National Semiconductor PC16550D data sheet, section 8).
enum {
    kCom1 = 0x3f8,
    kDivisorLow = kCom1,       // while LCR bit 7 (DLAB) is set
    kDivisorHigh = kCom1 + 1,  // likewise
    kData = kCom1,
    kInterruptEnable = kCom1 + 1,
    kFifoControl = kCom1 + 2,
    kLineControl = kCom1 + 3,
    kModemControl = kCom1 + 4,
    kLineStatus = kCom1 + 5,
    kTransmitterEmpty = 0x20,
};

_Noreturn void guest_exit(int v) {
    out8(kDebugExitPort, (uint8_t)v);
    // Only where no debug-exit device is there. HLT would be a general-protection fault at ring 3.
    for (;;) __asm__ volatile("pause");
}

void serial_open(void) {
    out8(kInterruptEnable, 0);
    out8(kLineControl, 0x80);
    out8(kDivisorLow, 1);  // 115200 / 1
    out8(kDivisorHigh, 0);
    out8(kLineControl, 0x03);  // 8 data bits, no parity, 1 stop bit
    out8(kFifoControl, 0x07);  // FIFOs on and emptied
    out8(kModemControl, 0x03);
}

void print_character(char character) {
    while ((in8(kLineStatus) & kTransmitterEmpty) == 0) {
    }
    out8(kData, (uint8_t)character);
}

void print(const char* text) {
    while (*text != '\0') print_character(*text++);
}

void print_decimal(unsigned long value) {
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (count != 0) print_character(digits[--count]);
}

void print_hex(unsigned long value, unsigned digits) {
    while (digits != 0) print_character("0123456789abcdef"[(value >> (4 * --digits)) & 15]);
}

// The part of the Multiboot boot information that is read here (specification, section 3.3).
struct BootInformation {
    uint32_t flags;  // bit 2: command_line is there
    uint32_t memory_lower, memory_upper;
    uint32_t boot_device;
    uint32_t command_line;
};
extern const unsigned long boot_information;

static bool starts_with(const char* text, const char* key) {
    while (*key != '\0') {
        if (*text++ != *key++) return false;
    }
    return *text == '=';
}

static unsigned digit_value(char character) {
    if (character >= '0' && character <= '9') return (unsigned)(character - '0');
    if (character >= 'a' && character <= 'f') return (unsigned)(character - 'a') + 10;
    return 16;
}

static unsigned long parse_number(const char* text) {
    unsigned base = 10;
    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    unsigned long value = 0;
    for (; digit_value(*text) < base; ++text) value = value * base + digit_value(*text);
    return value;
}

unsigned long command_line_number(const char* key, unsigned long otherwise) {
    const struct BootInformation* information = (const struct BootInformation*)boot_information;
    if (information == NULL || (information->flags & 4) == 0) return otherwise;
    const char* text = (const char*)(unsigned long)information->command_line;
    size_t key_length = 0;
    while (key[key_length] != '\0') ++key_length;
    // Words parted by spaces. The first may be the name of the kernel file: QEMU puts it there.
    while (*text != '\0') {
        if (starts_with(text, key)) return parse_number(text + key_length + 1);
        while (*text != '\0' && *text != ' ') ++text;
        while (*text == ' ') ++text;
    }
    return otherwise;
}

// GCC may call these four even in freestanding code (GCC manual, "Language Standards Supported by GCC").
void* memset(void* to, int value, size_t count) {
    void* start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
    return start;
}

void* memcpy(void* restrict to, const void* restrict from, size_t count) {
    void* start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return start;
}

void* memmove(void* to, const void* from, size_t count) {
    if ((uintptr_t)to - (uintptr_t)from >= count) return memcpy(to, from, count);
    for (size_t i = count; i != 0; --i) ((volatile char*)to)[i - 1] = ((const char*)from)[i - 1];
    return to;
}

int memcmp(const void* left, const void* right, size_t count) {
    const unsigned char *l = left, *r = right;
    for (; count != 0; --count, ++l, ++r) {
        if (*l != *r) return *l - *r;
    }
    return 0;
}
