#include "corner_values.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "dualvm/study/ring3_case.h"

namespace dualvm::study {

namespace {

// What a binary floating-point format is made of.
struct Format {
    unsigned exponent_bits, fraction_bits;
    u64 sign() const { return u64{1} << (exponent_bits + fraction_bits); }
    u64 largest_exponent() const { return (u64{1} << exponent_bits) - 1; }
    u64 bias() const { return largest_exponent() >> 1; }
    u64 fraction_mask() const { return (u64{1} << fraction_bits) - 1; }
    u64 make(u64 exponent, u64 fraction) const { return exponent << fraction_bits | (fraction & fraction_mask()); }
};
constexpr Format kFloat32{8, 23}, kFloat64{11, 52};

// 2^n or a neighbour, with fractions near the rounding point: where conversions to integers overflow and round.
u64 near_power(Random& random, const Format& f) {
    const u64 power = random.of({u64{0}, u64{1}, u64{7}, u64{8}, u64{15}, u64{16}, u64{30}, u64{31}, u64{32}, u64{52},
                                 u64{62}, u64{63}, u64{64}});
    const u64 exact = f.make(f.bias() + power, 0);
    return exact + random.below(5) - 2;
}

u64 corner_float(Random& random, const Format& f) {
    const u64 quiet = u64{1} << (f.fraction_bits - 1);
    u64 value = 0;
    switch (random.below(14)) {
        case 0: value = 0; break;
        case 1: value = f.make(f.bias(), 0); break;                                    // 1
        case 2: value = 1 + random.below(3); break;                                    // smallest denormals
        case 3: value = f.fraction_mask() - random.below(3) + random.below(3); break;  // around the smallest normal
        case 4: value = f.make(0, random.next()); break;                               // denormal
        case 5: value = f.make(f.largest_exponent() - 1, f.fraction_mask()); break;    // largest
        case 6: value = f.make(f.largest_exponent(), 0); break;                        // infinity
        case 7: value = f.make(f.largest_exponent(), quiet | random.next()); break;    // quiet NaN
        case 8: value = f.make(f.largest_exponent(), (random.next() & (quiet - 1)) | 1); break;  // signalling NaN
        case 9: value = near_power(random, f); break;
        case 10: value = f.make(f.bias() + random.below(70), random.next() << random.below(f.fraction_bits)); break;
        case 11: value = f.make(f.bias() - 2 + random.below(5), random.next()); break;
        case 12: value = f.make(random.below(f.largest_exponent()), random.next()); break;
        default: value = random.next() & (f.sign() - 1); break;
    }
    return random.one_in(2) ? value : value | f.sign();
}

}  // namespace

u64 corner_integer(Random& random) {
    const unsigned width = 8u << random.below(4);
    switch (random.below(8)) {
        case 0: return 0;
        case 1: return random.below(18);
        case 2: return ~random.below(8);
        case 3: return (u64{1} << (width - 1)) - 2 + random.below(4);  // around a sign bit
        case 4: return (u64{2} << (width - 1)) - 2 + random.below(4);  // around a carry
        case 5: return random.next() >> random.below(64);
        case 6: return u64{1} << random.below(64);
        default: return random.next();
    }
}

u32 corner_float32(Random& random) { return static_cast<u32>(corner_float(random, kFloat32)); }
u64 corner_float64(Random& random) { return corner_float(random, kFloat64); }

X87Register corner_float80(Random& random) {
    constexpr u64 kInteger = u64{1} << 63, kQuiet = u64{1} << 62;
    constexpr u16 kBias = 0x3fff, kMost = 0x7fff;
    X87Register r;
    const u64 any = random.next();
    switch (random.below(16)) {
        case 0: break;                                                                          // zero
        case 1: r = {kInteger, kBias}; break;                                                   // one
        case 2: r = {any & ~kInteger, 0}; break;                                                // denormal
        case 3: r = {1 + random.below(3), 0}; break;                                            // smallest denormals
        case 4: r = {kInteger | any, 0}; break;                                                 // pseudo-denormal
        case 5: r = {~u64{0}, kMost - 1}; break;                                                // largest
        case 6: r = {kInteger, kMost}; break;                                                   // infinity
        case 7: r = {kInteger | kQuiet | any, kMost}; break;                                    // quiet NaN
        case 8: r = {kInteger | (any & (kQuiet - 1)) | 1, kMost}; break;                        // signalling NaN
        case 9: r = {any & ~kInteger, kMost}; break;                                            // pseudo-NaN
        case 10: r = {any & ~kInteger, static_cast<u16>(kBias - 8 + random.below(80))}; break;  // unnormal
        case 11: r = {kInteger | any, static_cast<u16>(1 + random.below(kMost - 1))}; break;    // any normal
        case 12:
            r = {kInteger + random.below(3), static_cast<u16>(kBias + random.below(66))};
            break;  // near 2^n
        // As a smaller format would round it: ones and zeros from some place on.
        case 13: r = {kInteger | (any << random.below(64)), static_cast<u16>(kBias - 66 + random.below(132))}; break;
        // Where the smaller formats overflow and underflow.
        case 14:
            r = {kInteger | any, static_cast<u16>(random.of({0x3f80, 0x407e, 0x3c00, 0x43fe}) + random.below(4))};
            break;
        default: r = {any, static_cast<u16>(random.next() & kMost)}; break;
    }
    if (random.one_in(2)) r.sign_exponent |= 0x8000;
    return r;
}

Lane any_lane(Random& random) { return static_cast<Lane>(random.below(6)); }

void fill_lanes(Random& random, Lane lane, std::span<u8> bytes) {
    std::array<u8, 10> value{};
    std::size_t size = 8;
    for (std::size_t at = 0; at < bytes.size(); at += size) {
        u64 word = 0;
        switch (lane) {
            case Lane::Int8: size = 1, word = corner_integer(random); break;
            case Lane::Int16: size = 2, word = corner_integer(random); break;
            case Lane::Int32: size = 4, word = corner_integer(random); break;
            case Lane::Int64: size = 8, word = corner_integer(random); break;
            case Lane::Float32: size = 4, word = corner_float32(random); break;
            case Lane::Float64: size = 8, word = corner_float64(random); break;
            case Lane::Float80: {
                const X87Register r = corner_float80(random);
                size = 10, word = r.significand;
                std::memcpy(value.data() + 8, &r.sign_exponent, 2);
                break;
            }
            case Lane::Bcd:
                // Two decimal digits a byte, now and then none (SDM vol. 1, 4.7); what they then mean is undefined.
                size = 10;
                for (u8& b : value) b = static_cast<u8>(random.below(10) << 4 | random.below(10));
                value[9] = static_cast<u8>(random.of({0x00, 0x80, 0x7f, 0xff}));
                break;
        }
        if (lane != Lane::Bcd) std::memcpy(value.data(), &word, 8);
        std::memcpy(bytes.data() + at, value.data(), std::min(size, bytes.size() - at));
    }
}

u8 corner_count(Random& random) {
    const auto edge = random.of<u64>({0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65});
    return static_cast<u8>(random.one_in(3) ? random.next() : edge);
}

u32 corner_mxcsr(Random& random) {
    constexpr u32 kMasks = 0x1f80, kDaz = 0x40, kFtz = 0x8000;
    if (random.one_in(3)) return kMasks;
    u32 mxcsr = kMasks | static_cast<u32>(random.below(4) << 13);
    if (random.one_in(4)) mxcsr ^= static_cast<u32>(random.next()) & kMasks;
    if (random.one_in(3)) mxcsr |= kDaz;
    if (random.one_in(3)) mxcsr |= kFtz;
    if (random.one_in(3)) mxcsr |= static_cast<u32>(random.below(64));  // flags from before
    return mxcsr;
}

void corner_fpu(Random& random, FpuGroup& fpu) {
    constexpr u16 kMasks = 0x3f, kConditions = 0x4700, kErrorSummary = 0x80, kBusy = 0x8000;
    fpu.fcw = 0x37f;
    if (random.one_in(2)) {
        // Bit 6 is always set; precision 01b is reserved (SDM vol. 1, 8.1.5).
        fpu.fcw = static_cast<u16>(0x40 | kMasks | random.of({0, 2, 3}) << 8 | random.below(4) << 10);
        if (random.one_in(4)) fpu.fcw = static_cast<u16>(fpu.fcw ^ (random.next() & kMasks));
    }
    fpu.fsw = static_cast<u16>(random.below(8) << 11 | (random.next() & kConditions));
    if (random.one_in(4)) fpu.fsw = static_cast<u16>(fpu.fsw | random.below(128));
    if ((fpu.fsw & ~fpu.fcw & kMasks) != 0) {
        // An unmasked exception that waits: every waiting instruction then raises #MF and does nothing else.
        if (random.one_in(6)) {
            fpu.fsw |= kErrorSummary | kBusy;
        } else {
            fpu.fsw = static_cast<u16>(fpu.fsw & ~kMasks);
        }
    }
    switch (random.below(4)) {
        case 0: fpu.ftw = 0; break;
        case 1: fpu.ftw = static_cast<u8>(random.next()); break;
        default: fpu.ftw = 0xff; break;
    }
    for (X87Register& r : fpu.st) r = corner_float80(random);
    fpu.fop = static_cast<u16>(random.below(0x800));
    fpu.fip = ring3::kCode + random.below(64);
    fpu.fdp = ring3::kWindow + random.below(64);
    fpu.mxcsr = corner_mxcsr(random);
    for (VectorRegister& v : fpu.vector) {
        fill_lanes(random, any_lane(random), std::span(v.bytes).first(16));
    }
    // Equal ones, now and then: comparisons look different then.
    if (random.one_in(4)) fpu.vector[random.below(8)] = fpu.vector[random.below(8)];
    if (random.one_in(4)) fpu.st[random.below(8)] = fpu.st[random.below(8)];
}

}  // namespace dualvm::study
