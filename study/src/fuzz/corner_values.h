// Values at which instructions go wrong.
#pragma once

#include "dualvm/cpu_file.h"
#include "random.h"

namespace dualvm::study {

enum class Lane : u8 { Int8, Int16, Int32, Int64, Float32, Float64, Float80, Bcd };

// Small numbers, around sign bits and carries of every width, all ones, runs of ones, anything.
u64 corner_integer(Random& random);
// Zeros, ones, denormals, the largest, infinities, quiet and signalling NaNs, integers around the edges of integer
// types, anything; each with either sign.
u32 corner_float32(Random& random);
u64 corner_float64(Random& random);
// The same, and what only the 80-bit format has: unnormals, pseudo-denormals, pseudo-infinities (SDM vol. 1, 8.2.2).
X87Register corner_float80(Random& random);

// Fills `bytes` with values of that kind, one after the other.
void fill_lanes(Random& random, Lane lane, std::span<u8> bytes);
Lane any_lane(Random& random);

// Counts for shifts and rotates: around each operand width, and beyond.
u8 corner_count(Random& random);

u32 corner_mxcsr(Random& random);
// Control, status and tag words that fit each other, registers, pointers as 32-bit code could have left them.
void corner_fpu(Random& random, FpuGroup& fpu);

}  // namespace dualvm::study
