// Prints how many cycles a second this host's CPU does in user mode, for hosts whose performance counters are hidden: a
// chain of dependent additions takes one cycle each on every x86 CPU of the last twenty years.
#include <stdio.h>
#include <sys/resource.h>

static double user_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec;
}

int main(void) {
    enum { kRounds = 4000000, kAdditions = 16 };
    double best = 1e9;
    for (int attempt = 0; attempt < 5; ++attempt) {
        const double begin = user_seconds();
        unsigned long sum = 1;
        for (int i = 0; i < kRounds; ++i) {
            __asm__ volatile(
                "add %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\t"
                "add %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\tadd %0, %0\n\t"
                "add %0, %0\n\tadd %0, %0"
                : "+r"(sum));
        }
        const double taken = user_seconds() - begin;
        if (taken < best) best = taken;
    }
    printf("%.0f\n", (double)kRounds * kAdditions / best);
    return 0;
}
