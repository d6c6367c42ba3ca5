// CRC-32 (ISO-HDLC, as in zip and Ethernet) of `size` bytes 0, 1, 2 ... 255, 0, 1 ...: a table look-up for each byte.
#include "workload.h"

static uint64_t crc_bytes(uint64_t size, unsigned char* memory) {
    uint32_t* const table = (uint32_t*)memory;
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t remainder = byte;
        for (unsigned bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0xedb88320 : 0);
        table[byte] = remainder;
    }
    uint32_t crc = 0xffffffff;
    for (uint64_t i = 0; i < size; ++i) crc = (crc >> 8) ^ table[(crc ^ i) & 0xff];
    return crc ^ 0xffffffff;
}

const struct Workload workload = {"crc32", 2000000, crc_bytes, 1};
