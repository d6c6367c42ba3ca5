// SHA-256 (FIPS 180-4) of `size` zero bytes: the first 64 bits of the digest. `head -c SIZE /dev/zero | sha256sum`
// prints the same.
#include "workload.h"

// First 32 bits of the fractional parts of the cube roots of the first 64 primes (section 4.2.2).
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate_right(uint32_t value, unsigned count) { return value >> count | value << (32 - count); }

static uint32_t load_big_endian(const unsigned char* bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

// Section 6.2.2, steps 1 to 4.
static void hash_block(uint32_t hash[8], const unsigned char block[64]) {
    uint32_t schedule[64];
    for (unsigned t = 0; t < 16; ++t) schedule[t] = load_big_endian(block + 4 * t);
    for (unsigned t = 16; t < 64; ++t) {
        const uint32_t w2 = schedule[t - 2], w15 = schedule[t - 15];
        schedule[t] = (rotate_right(w2, 17) ^ rotate_right(w2, 19) ^ w2 >> 10) + schedule[t - 7] +
                      (rotate_right(w15, 7) ^ rotate_right(w15, 18) ^ w15 >> 3) + schedule[t - 16];
    }
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4], f = hash[5], g = hash[6], h = hash[7];
    for (unsigned t = 0; t < 64; ++t) {
        const uint32_t t1 = h + (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)) +
                            ((e & f) ^ (~e & g)) + round_constants[t] + schedule[t];
        const uint32_t t2 =
            (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
    hash[5] += f;
    hash[6] += g;
    hash[7] += h;
}

static uint64_t hash_zeros(uint64_t size, unsigned char* block) {
    uint32_t hash[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (unsigned i = 0; i < 64; ++i) block[i] = 0;
    for (uint64_t done = 64; done <= size; done += 64) hash_block(hash, block);

    // Padding (section 5.1.1): a 1 bit, zeros, and the length in bits in the last 8 bytes.
    block[size % 64] = 0x80;
    if (size % 64 >= 56) {
        hash_block(hash, block);
        block[size % 64] = 0;
    }
    for (unsigned i = 0; i < 8; ++i) block[63 - i] = (unsigned char)(size * 8 >> 8 * i);
    hash_block(hash, block);
    return (uint64_t)hash[0] << 32 | hash[1];
}

const struct Workload workload = {"sha256", 500000, hash_zeros, 1};
