// How often each cluster of a file is referred to, counted for a check. References of a hostile image may be strewn
// over a file with a far end, so memory is taken where there are some, and not without limit.
#pragma once

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::storage {

class ReferenceCounts {
public:
    // False: there are too many to count.
    bool add(u64 cluster, u64 times = 1) {
        auto found = pages_.find(cluster / kPage);
        if (found == pages_.end()) {
            if (pages_.size() == kMostPages) return false;
            found = pages_.emplace(cluster / kPage, std::vector<u32>(kPage)).first;
        }
        u32& count = found->second[cluster % kPage];
        count = static_cast<u32>(std::min<u64>(count + times, 0xffffffff));
        return true;
    }
    u64 of(u64 cluster) const {
        const auto found = pages_.find(cluster / kPage);
        return found == pages_.end() ? 0 : found->second[cluster % kPage];
    }
    // The clusters that are referred to, in order.
    template <class Function>
    void each(Function function) const {
        std::vector<u64> numbers;
        for (const auto& [number, page] : pages_) numbers.push_back(number);
        std::sort(numbers.begin(), numbers.end());
        for (const u64 number : numbers) {
            const std::vector<u32>& page = pages_.at(number);
            for (u64 i = 0; i < kPage; ++i) {
                if (page[i] != 0) function(number * kPage + i, u64{page[i]});
            }
        }
    }

private:
    static constexpr u64 kPage = 512;
    static constexpr std::size_t kMostPages = std::size_t{1} << 18;  // 512 MiB: 8 TiB of clusters of 64 KiB
    std::unordered_map<u64, std::vector<u32>> pages_;
};

}  // namespace dualvm::storage
