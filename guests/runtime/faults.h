// Checks the exceptions that code written with runtime/faults.inc raises.
#pragma once

#include "check.h"
#include "interrupts.h"

// Takes over vectors 0 to 31. Each exception must be the table's next one: vector, error code, saved IP.
void faults_watch(void);
// All of the table has happened: a case that raised nothing counts as failed. Call it at the end.
void faults_finish(void);
