// Checks the exceptions that code raises on purpose: see faults.h and faults.inc.
#include "faults.h"

struct FaultCase {
    unsigned long saved_ip, resume_ip;
    const char* name;
    unsigned long vector, error_code;
};
extern const struct FaultCase fault_cases_start[], fault_cases_end[];  // guest.ld
static const struct FaultCase* next_case = fault_cases_start;

enum { kSingleStepFlag = 1 << 8 };

static void print_frame(const struct InterruptFrame* frame) {
    print("        vector ");
    print_decimal(frame->vector);
    print(", error code ");
    print_hex(frame->error_code, 4);
    print(", at ");
    print_hex(frame->cs, 4);
    print(":");
    print_hex(frame->ip, 2 * sizeof frame->ip);
    print("\n");
}

// Cases that are passed over raised nothing.
static void skip_to(const struct FaultCase* reached) {
    for (; next_case != reached; ++next_case) {
        check(next_case->name, false);
        print("        no exception there\n");
    }
}

static void fault_seen(struct InterruptFrame* frame) {
    const struct FaultCase* reached = next_case;
    while (reached != fault_cases_end && reached->saved_ip != frame->ip) ++reached;
    if (reached != fault_cases_end) skip_to(reached);
    if (next_case == fault_cases_end) {
        print("FAILED  an exception that nobody asked for\n");
        print_frame(frame);
        guest_exit(1);
    }
    const bool right = frame->ip == next_case->saved_ip && frame->vector == next_case->vector &&
                       frame->error_code == next_case->error_code;
    check(next_case->name, right);
    if (!right) print_frame(frame);
    frame->ip = next_case->resume_ip;
    frame->flags &= ~(unsigned long)kSingleStepFlag;
    ++next_case;
}

void faults_watch(void) {
    for (unsigned vector = 0; vector < 32; ++vector) interrupt_handle(vector, fault_seen);
}

void faults_finish(void) { skip_to(fault_cases_end); }
