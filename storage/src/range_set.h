// Ranges of bytes that do not overlap: where an image keeps its metadata, which guest data may never be written over.
#pragma once

#include <algorithm>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::storage {

class RangeSet {
public:
    // Without looking; sort() must follow before anything is asked.
    void add_unsorted(u64 begin, u64 length) { ranges_.push_back({begin, begin + length}); }
    // Whether all of them are apart.
    bool sort() {
        std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
        return std::adjacent_find(ranges_.begin(), ranges_.end(),
                                  [](const Range& a, const Range& b) { return b.begin < a.end; }) == ranges_.end();
    }
    void add(u64 begin, u64 length) { ranges_.insert(first_after(begin), {begin, begin + length}); }
    void remove(u64 begin) {
        const auto at = first_after(begin);
        if (at != ranges_.begin() && std::prev(at)->begin == begin) ranges_.erase(std::prev(at));
    }
    bool overlaps(u64 begin, u64 length) const {
        const auto next = first_after(begin);
        if (next != ranges_.end() && next->begin < begin + length) return true;
        return next != ranges_.begin() && std::prev(next)->end > begin;
    }

private:
    struct Range {
        u64 begin, end;
    };
    std::vector<Range>::const_iterator first_after(u64 begin) const {
        return std::upper_bound(ranges_.begin(), ranges_.end(), begin,
                                [](u64 value, const Range& range) { return value < range.begin; });
    }
    std::vector<Range> ranges_;
};

}  // namespace dualvm::storage
