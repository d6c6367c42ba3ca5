// Random numbers that depend on a seed alone, on every machine: case i of seed s is the same everywhere.
#pragma once

#include <array>
#include <initializer_list>
#include <iterator>
#include <span>

#include "dualvm/types.h"

namespace dualvm::study {

// splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
class Random {
public:
    Random(u64 seed, u64 stream) : state_(seed * 0x9e3779b97f4a7c15 ^ (stream + 1) * 0xd1342543de82ef95) { next(); }

    u64 next() {
        u64 z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    u64 below(u64 n) { return next() % n; }
    // True once in `n` times.
    bool one_in(u64 n) { return below(n) == 0; }
    bool percent(u64 n) { return below(100) < n; }
    template <class T>
    const T& of(std::span<const T> all) {
        return all[below(all.size())];
    }
    template <class T>
    T of(std::initializer_list<T> all) {
        return *(all.begin() + below(all.size()));
    }

private:
    u64 state_;
};

}  // namespace dualvm::study
