// Ends with a value of one's choice: -append "value=V" gives status (V << 1) | 1.
#include "../runtime/guest.h"

int guest_main(void) {
    serial_open();
    const unsigned long value = command_line_number("value", 0);
    print("ending with ");
    print_decimal(value);
    print("\n");
    return (int)value;
}
