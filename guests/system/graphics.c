// The graphics adapter: draws in text mode 3, mode 13h, mode 12h and VBE modes by their registers, reads back, and
// prints checksums of what it finds. With mode=N (3, 0x12, 0x13, 8, 15, 16, 24, 32) it draws that picture alone, says
// so and halts, so that the screen can be looked at: N from 8 on is a VBE mode of so many bits.
#include "../runtime/guest.h"
#include "../runtime/ports.h"

enum { kText = 3, kPlanar = 0x12, kBytes = 0x13 };

// Values of the registers of a mode, as the VGA's BIOS has them (IBM VGA technical reference, "Video modes").
struct Mode {
    uint8_t misc, sequencer[5], crtc[25], graphics[9], attribute[21];
};
static const struct Mode text_mode = {
    0x67,
    {3, 0, 3, 0, 2},
    {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0,    0x4f, 0x0d, 0x0e, 0,
     0,    0,    0,    0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
    {0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff},
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x04, 0, 0x0f, 8, 0}};
static const struct Mode planar_mode = {
    0xe3,
    {3, 1, 0x0f, 0, 6},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0,    0x40, 0,    0,   0,
     0,    0,    0,    0xea, 0x8c, 0xdf, 0x28, 0,    0xe7, 0x04, 0xe3, 0xff},
    {0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff},
    {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 1, 0, 0x0f, 0, 0}};
static const struct Mode byte_mode = {0x63,
                                      {3, 1, 0x0f, 0, 0x0e},
                                      {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0,    0x41, 0,    0,   0,
                                       0,    0,    0,    0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
                                      {0, 0, 0, 0, 0, 0x40, 5, 0x0f, 0xff},
                                      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0, 0}};

static void indexed(uint16_t port, unsigned index, unsigned value) { out16(port, (uint16_t)(value << 8 | index)); }
static void graphics(unsigned index, unsigned value) { indexed(0x3ce, index, value); }
static void sequencer(unsigned index, unsigned value) { indexed(0x3c4, index, value); }

static void enter(const struct Mode* mode) {
    out8(0x3c2, mode->misc);
    for (unsigned i = 0; i < sizeof mode->sequencer; ++i) sequencer(i, mode->sequencer[i]);
    indexed(0x3d4, 0x11, 0);  // the first registers can be written
    for (unsigned i = 0; i < sizeof mode->crtc; ++i) indexed(0x3d4, i, mode->crtc[i]);
    for (unsigned i = 0; i < sizeof mode->graphics; ++i) graphics(i, mode->graphics[i]);
    in8(0x3da);
    for (unsigned i = 0; i < sizeof mode->attribute; ++i) {
        out8(0x3c0, (uint8_t)i);
        out8(0x3c0, mode->attribute[i]);
    }
    out8(0x3c0, 0x20);
}

static uint32_t checksum;
static void add(uint32_t value) { checksum = (checksum << 5 | checksum >> 27) ^ value; }
static void report(const char* what) {
    print(what);
    print(" ");
    print_hex(checksum, 8);
    print("\n");
    checksum = 0;
}

static void set_palette(void) {
    out8(0x3c8, 0);
    for (unsigned i = 0; i < 256; ++i) {
        out8(0x3c9, (uint8_t)(i >> 2));
        out8(0x3c9, (uint8_t)(i * 5 & 0x3f));
        out8(0x3c9, (uint8_t)(0x3f - (i >> 2)));
    }
}

static volatile uint8_t* const window = (volatile uint8_t*)0xa0000;

// Characters B0h to BFh are left out: whether the ninth dot repeats the eighth there, adapters do not agree on.
static void draw_text(void) {
    volatile uint16_t* const screen = (volatile uint16_t*)0xb8000;
    indexed(0x3d4, 0x0a, 0x20);  // no cursor
    for (unsigned i = 0; i < 80 * 25; ++i) {
        const unsigned character = i % 251 >= 0xb0 && i % 251 < 0xc0 ? 'x' : i % 251;
        screen[i] = (uint16_t)((i * 7 / 3 & 0xff) << 8 | character);
    }
}

static void draw_bytes(void) {
    set_palette();
    for (unsigned y = 0; y < 200; ++y) {
        for (unsigned x = 0; x < 320; ++x) window[y * 320 + x] = (uint8_t)((x * x + y * y) >> 6);
    }
}

// Each way of writing to four planes, in horizontal bands.
static void draw_planar(void) {
    graphics(8, 0xff);
    for (unsigned at = 0; at < 80 * 480; ++at) window[at] = 0;
    for (unsigned at = 0; at < 80 * 480; ++at) {  // write mode 0, a plane after the other
        sequencer(2, 1u << (at / 80 & 3));
        window[at] = (uint8_t)(at * 37);
    }
    sequencer(2, 0xf);
    graphics(5, 2);  // write mode 2: a colour for the dots of the bit mask
    for (unsigned at = 80 * 100; at < 80 * 200; ++at) {
        graphics(8, at & 0xff);
        (void)window[at];
        window[at] = (uint8_t)(at / 80 & 0xf);
    }
    graphics(5, 0);  // set/reset for two planes, rotation, exclusive or
    graphics(0, 9);
    graphics(1, 3);
    graphics(3, 0x1b);
    graphics(8, 0x7e);
    for (unsigned at = 80 * 200; at < 80 * 300; ++at) {
        (void)window[at];
        window[at] = (uint8_t)(at * 11);
    }
    graphics(1, 0);
    graphics(3, 0);
    graphics(5, 3);  // write mode 3
    graphics(0, 0xc);
    graphics(8, 0xff);
    for (unsigned at = 80 * 300; at < 80 * 400; ++at) {
        (void)window[at];
        window[at] = (uint8_t)(at * 3);
    }
    graphics(5, 1);  // write mode 1: the top comes again at the bottom
    for (unsigned at = 0; at < 80 * 80; ++at) {
        (void)window[at];
        window[at + 80 * 400] = 0;
    }
    graphics(0, 0);
    graphics(5, 0);
}

static void vbe(unsigned index, unsigned value) {
    out16(0x1ce, (uint16_t)index);
    out16(0x1cf, (uint16_t)value);
}
static unsigned vbe_register(unsigned index) {
    out16(0x1ce, (uint16_t)index);
    return in16(0x1cf);
}

// The linear frame buffer is BAR 0 of the function 1234:1111.
static volatile uint8_t* frame_buffer(void) {
    for (uint32_t slot = 0; slot < 32; ++slot) {
        out32(0xcf8, 0x80000000 | slot << 11);
        if (in32(0xcfc) != 0x11111234) continue;
        out32(0xcf8, 0x80000000 | slot << 11 | 0x10);
        return (volatile uint8_t*)(uintptr_t)(in32(0xcfc) & ~0xfu);
    }
    print("no graphics adapter on PCI\n");
    guest_exit(1);
}

enum { kWidth = 640, kHeight = 400 };

static void enter_vbe(unsigned bits) {
    vbe(4, 0);
    vbe(1, kWidth);
    vbe(2, kHeight);
    vbe(3, bits);
    vbe(4, 0x41);
}

static void draw_vbe(unsigned bits) {
    const unsigned bytes = (bits + 7) / 8;
    enter_vbe(bits);
    if (bits == 8) set_palette();
    volatile uint8_t* at = frame_buffer();
    for (unsigned y = 0; y < kHeight; ++y) {
        for (unsigned x = 0; x < kWidth; ++x) {
            const uint32_t value = (x * 0x10204 ^ y * 0x3050) + (x / 40 + y / 40) % 2 * 0x808080;
            for (unsigned i = 0; i < bytes; ++i) *at++ = (uint8_t)(value >> (8 * i));
        }
    }
}

static void read_planar(void) {
    for (unsigned plane = 0; plane < 4; ++plane) {
        graphics(4, plane);
        for (unsigned at = 0; at < 80 * 480; ++at) add(window[at]);
    }
    report("mode 12h, planes");
    graphics(5, 8);  // read mode 1
    for (unsigned colour = 0; colour < 16; ++colour) {
        graphics(2, colour);
        graphics(7, colour % 3 == 0 ? 0xf : colour);
        for (unsigned at = 0; at < 80 * 480; at += 61) add(window[at]);
    }
    report("mode 12h, colours");
    graphics(5, 0);
    graphics(4, 0);
}

static void read_registers(void) {
    for (unsigned i = 0; i < 25; ++i) {
        out8(0x3d4, (uint8_t)i);
        add(in8(0x3d5));
    }
    for (unsigned i = 0; i < 9; ++i) {
        out8(0x3ce, (uint8_t)i);
        add(in8(0x3cf));
    }
    for (unsigned i = 1; i < 5; ++i) {
        out8(0x3c4, (uint8_t)i);
        add(in8(0x3c5));
    }
    for (unsigned i = 0; i < 21; ++i) {
        in8(0x3da);
        out8(0x3c0, (uint8_t)i);
        add(in8(0x3c1));
    }
    in8(0x3da);
    out8(0x3c0, 0x20);
    out8(0x3c7, 10);
    for (unsigned i = 0; i < 300; ++i) add(in8(0x3c9));
    report("registers");
}

static void test_vbe(void) {
    print("VBE ");
    print_hex(vbe_register(0), 4);
    print(", 64 KiB times ");
    print_decimal(vbe_register(10));
    print("\n");
    vbe(4, 2);  // capabilities
    for (unsigned i = 1; i < 4; ++i) add(vbe_register(i));
    vbe(4, 0);
    report("VBE limits");
    for (unsigned bits = 8; bits <= 32; bits += 8) {
        draw_vbe(bits);
        const volatile uint32_t* words = (volatile uint32_t*)frame_buffer();
        for (unsigned i = 0; i < kWidth * kHeight * bits / 32; i += 7) add(words[i]);
        vbe(5, 3);  // the same through the window: the fourth 64 KiB
        for (unsigned i = 0; i < 0x10000; i += 5) add(window[i]);
        for (unsigned i = 1; i < 10; ++i) add(vbe_register(i));
        report("VBE");
    }
    vbe(4, 0);
}

// Code in the frame buffer, changed where only the adapter sees that it is the same memory: through the window.
static void execute_frame_buffer(void) {
    static const uint8_t code[] = {0xb8, 1, 0, 0, 0, 0xc3};  // mov eax, 1; ret
    enter_vbe(8);
    vbe(5, 0);
    volatile uint8_t* const at = frame_buffer();
    for (unsigned i = 0; i < sizeof code; ++i) at[i] = code[i];
    const uint32_t before = ((uint32_t(*)(void))(uintptr_t)at)();
    window[1] = 2;
    const uint32_t after = ((uint32_t(*)(void))(uintptr_t)at)();
    print("code in the frame buffer: ");
    print_decimal(before);
    print(", ");
    print_decimal(after);
    print("\n");
    vbe(4, 0);
}

int guest_main(void) {
    serial_open();
    const unsigned long mode = command_line_number("mode", 0);
    if (mode == 0 || mode == kText) {
        enter(&text_mode);
        draw_text();
        for (unsigned i = 0; i < 80 * 25; ++i) add(((volatile uint16_t*)0xb8000)[i]);
        if (mode == 0) report("text");
    }
    if (mode == 0 || mode == kBytes) {
        enter(&byte_mode);
        draw_bytes();
        for (unsigned i = 0; i < 320 * 200; ++i) add(window[i]);
        if (mode == 0) report("mode 13h");
        if (mode == 0) read_registers();
    }
    if (mode == 0 || mode == kPlanar) {
        enter(&planar_mode);
        draw_planar();
        if (mode == 0) read_planar();
    }
    if (mode == 0) {
        test_vbe();
        execute_frame_buffer();
        enter(&text_mode);
        return 0;
    }
    if (mode != kText && mode != kPlanar && mode != kBytes) draw_vbe((unsigned)mode);
    print("drawn\n");
    while (true) __asm__ volatile("cli\n\thlt");
}
