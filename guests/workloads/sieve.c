// Sieve of Eratosthenes: counts the primes below `size`.
#include "workload.h"

static uint64_t count_primes(uint64_t size, unsigned char* composite) {
    if (size > kWorkloadMemory) size = kWorkloadMemory;
    for (uint64_t i = 0; i < size; ++i) composite[i] = 0;
    uint64_t primes = 0;
    for (uint64_t i = 2; i < size; ++i) {
        if (composite[i]) continue;
        ++primes;
        for (uint64_t multiple = i * i; multiple < size; multiple += i) composite[multiple] = 1;
    }
    return primes;
}

const struct Workload workload = {"sieve", 1000000, count_primes, 0};
