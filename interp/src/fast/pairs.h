// Every pair of some steps, with its handler.
#pragma once

#include <algorithm>
#include <array>

#include "handler.h"

namespace dualvm::interp::fast {

template <Step... kSteps>
struct PairsOf {
    static constexpr std::size_t kCount = sizeof...(kSteps);
    static constexpr std::array<Handler, kCount> kSingles = {single<kSteps>...};

    template <Step kFirst>
    static constexpr std::array<Handler, kCount> kBehind = {pair<kFirst, kSteps>...};
    static constexpr std::array<std::array<Handler, kCount>, kCount> kPairs = {kBehind<kSteps>...};

    static Handler choose(Handler first, Handler second) {
        const auto* const a = std::find(kSingles.begin(), kSingles.end(), first);
        const auto* const b = std::find(kSingles.begin(), kSingles.end(), second);
        if (a == kSingles.end() || b == kSingles.end()) return nullptr;
        return kPairs[static_cast<std::size_t>(a - kSingles.begin())][static_cast<std::size_t>(b - kSingles.begin())];
    }
};

}  // namespace dualvm::interp::fast
