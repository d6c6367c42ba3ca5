// Hello from 64-bit mode.
#include "../runtime/guest.h"

int guest_main(void) {
    serial_open();
    print("Hello from 64-bit mode\n");
    return 0;
}
