// Hello from 32-bit protected mode.
#include "../runtime/guest.h"

int guest_main(void) {
    serial_open();
    print("Hello from 32-bit protected mode\n");
    return 0;
}
