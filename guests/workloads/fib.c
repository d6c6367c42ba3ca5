// The `size`-th Fibonacci number by the definition: a tree of calls and returns.
#include "workload.h"

// Compiled with -fno-optimize-sibling-calls and never inlined, so that each call in the source is a CALL.
__attribute__((noinline)) static uint64_t fibonacci(uint64_t n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static uint64_t run(uint64_t size, unsigned char* memory) {
    (void)memory;
    return fibonacci(size > 64 ? 64 : size);
}

const struct Workload workload = {"fib", 28, run, 0};
