// A workload as a Linux program: NAME size=N repeat=K.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "workload.h"

static uint64_t argument(int count, char** words, const char* key, uint64_t otherwise) {
    const size_t length = strlen(key);
    for (int i = 1; i < count; ++i) {
        if (strncmp(words[i], key, length) == 0 && words[i][length] == '=')
            return strtoull(words[i] + length + 1, NULL, 0);
    }
    return otherwise;
}

int main(int argc, char** argv) {
    const uint64_t size = argument(argc, argv, "size", workload.default_size);
    const uint64_t repeat = argument(argc, argv, "repeat", 1);
    if (repeat == 0) {
        fprintf(stderr, "usage: %s size=N repeat=K, K at least 1\n", argv[0]);
        return 2;
    }
    unsigned char* memory = mmap(NULL, kWorkloadMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    // Guests run on 2 MiB pages: ask for the same, so that both sides have the same translations to do.
    madvise(memory, kWorkloadMemory, MADV_HUGEPAGE);
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < repeat; ++i) checksum = workload.checksum(size, memory);
    printf(workload.hexadecimal ? "%s ring=native size=%" PRIu64 " checksum=%016" PRIx64 "\n"
                                : "%s ring=native size=%" PRIu64 " checksum=%" PRIu64 "\n",
           workload.name, size, checksum);
    return 0;
}
