// The 8042 with its keyboard and mouse, spoken to and interrupting. -append "keys=1": then the scan codes of all keys
// that are pressed, until Esc is let go.
#include "../runtime/cpu.h"
#include "../runtime/interrupts.h"
#include "../runtime/ports.h"
#include "../runtime/timer.h"

enum { kData = 0x60, kCommand = 0x64 };
enum { kOutputFull = 1, kFromMouse = 0x20 };
enum { kMasterMask = 0x21, kSlaveCommand = 0xa0, kSlaveMask = 0xa1, kEndOfInterrupt = 0x20 };
enum { kKeyboardVector = kTimerVector + 1, kMouseVector = kTimerVector + 12 };
enum { kInterruptsOff = 0x44, kInterruptsOn = 0x47 };  // command bytes, with translation to set 1
enum { kEscapeReleased = 0x81 };

static volatile int keyboard_byte = -1, mouse_byte = -1;
static bool printing;

static void on_keyboard(struct InterruptFrame* frame) {
    (void)frame;
    keyboard_byte = in8(kData);
    if (printing) {
        print(" ");
        print_hex((unsigned long)keyboard_byte, 2);
    }
    timer_end_of_interrupt();
}

static void on_mouse(struct InterruptFrame* frame) {
    (void)frame;
    mouse_byte = in8(kData);
    out8(kSlaveCommand, kEndOfInterrupt);
    timer_end_of_interrupt();
}

static void command(uint8_t value) { out8(kCommand, value); }
static void command_with(uint8_t value, uint8_t parameter) {
    out8(kCommand, value);
    out8(kData, parameter);
}

// The next byte by polling; -1 if none comes.
static int next_byte(void) {
    for (long patience = 10000; patience != 0; --patience) {
        if (in8(kCommand) & kOutputFull) return in8(kData);
    }
    return -1;
}

// All that comes, with what it is before it.
static void print_answer(const char* what) {
    print(what);
    for (int byte = next_byte(); byte >= 0; byte = next_byte()) {
        print(" ");
        print_hex((unsigned long)byte, 2);
    }
    print("\n");
}

static void ask(const char* what, uint8_t controller_command) {
    command(controller_command);
    print_answer(what);
}
static void ask_keyboard(const char* what, uint8_t byte) {
    out8(kData, byte);
    print_answer(what);
}
static void ask_mouse(const char* what, uint8_t byte) {
    command_with(0xd4, byte);
    print_answer(what);
}

static void set_mouse_rate(uint8_t rate) {
    command_with(0xd4, 0xf3);
    next_byte();
    command_with(0xd4, rate);
    next_byte();
}

static void polled(void) {
    command_with(0x60, kInterruptsOff);
    ask("controller's self-test:", 0xaa);
    ask("command byte:", 0x20);
    ask("keyboard's cable:", 0xab);
    ask("mouse's cable:", 0xa9);
    ask_keyboard("keyboard, reset:", 0xff);
    ask_keyboard("keyboard, identify:", 0xf2);
    ask_keyboard("keyboard, echo:", 0xee);
    ask_keyboard("keyboard, disable:", 0xf5);
    ask_mouse("mouse, reset:", 0xff);
    ask_mouse("mouse, identify:", 0xf2);
    ask_mouse("mouse, status:", 0xe9);
    set_mouse_rate(200);
    set_mouse_rate(100);
    set_mouse_rate(80);
    ask_mouse("mouse, identify after the magic word:", 0xf2);
    ask_mouse("mouse, read data:", 0xeb);
    command_with(0xd3, 0x5a);
    print(in8(kCommand) & kFromMouse ? "a byte as if from the mouse:" : "a byte as if from the keyboard:");
    print_answer("");
}

static void interrupting(void) {
    timer_start(1000);  // initializes the interrupt controllers
    out8(kMasterMask, (uint8_t) ~(1 << 1 | 1 << 2));
    out8(kSlaveMask, (uint8_t) ~(1 << (12 - 8)));
    interrupts_install();
    interrupt_handle(kKeyboardVector, on_keyboard);
    interrupt_handle(kMouseVector, on_mouse);
    command_with(0x60, kInterruptsOn);
    command_with(0xd2, 0x12);
    while (keyboard_byte < 0) {
        wait_for_interrupt();
        interrupts_off();
    }
    command_with(0xd3, 0x34);
    while (mouse_byte < 0) {
        wait_for_interrupt();
        interrupts_off();
    }
    print("IRQ 1: ");
    print_hex((unsigned long)keyboard_byte, 2);
    print(", IRQ 12: ");
    print_hex((unsigned long)mouse_byte, 2);
    print("\n");
}

// On the screen, for who waits there.
static void show(const char* text) {
    volatile uint16_t* cell = (volatile uint16_t*)0xb8000;
    while (*text != '\0') *cell++ = (uint16_t)(0x0700 | (unsigned char)*text++);
}

static void keys(void) {
    printing = true;
    out8(kData, 0xf4);
    print("keys:");
    show("press keys, Esc to end");
    while (keyboard_byte != kEscapeReleased) {
        wait_for_interrupt();
        interrupts_off();
    }
    print("\n");
}

int guest_main(void) {
    serial_open();
    polled();
    interrupting();
    if (command_line_number("keys", 0) != 0) keys();
    return 0;
}
