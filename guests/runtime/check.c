// Checks that a guest makes of itself: see check.h.
#include "check.h"

static unsigned checks, failures;

void check(const char* what, bool right) {
    ++checks;
    if (!right) ++failures;
    print(right ? "ok      " : "FAILED  ");
    print(what);
    print("\n");
}

void check_equal(const char* what, unsigned long actual, unsigned long expected) {
    check(what, actual == expected);
    if (actual == expected) return;
    print("        is ");
    print_hex(actual, 2 * sizeof actual);
    print(", should be ");
    print_hex(expected, 2 * sizeof expected);
    print("\n");
}

int check_verdict(const char* guest) {
    print(guest);
    print(": ");
    print_decimal(checks - failures);
    print(" of ");
    print_decimal(checks);
    print(" checks passed\n");
    return failures == 0 && checks != 0 ? 0 : 1;
}
