// Checks that a guest makes of itself: a line for each, and a verdict at the end.
#pragma once

#include "guest.h"

// Prints "ok" or "FAILED" and what was checked.
void check(const char* what, bool right);
// The same for a number; a wrong one is printed beside the right one.
void check_equal(const char* what, unsigned long actual, unsigned long expected);
// Prints the verdict; gives what guest_main() returns: 0 when all were right.
int check_verdict(const char* guest);
