// Whether the two results of a case agree.
#pragma once

#include <string>

#include "segment_case.h"

namespace dualvm::segments {

struct Verdict {
    // What differs, a line each with both results; empty if nothing does.
    std::string differences;
    // The rule by which that is as it should be, or why there is nothing to compare; nullptr if neither.
    const char* not_compared = nullptr;

    bool wrong() const { return !differences.empty() && not_compared == nullptr; }
};

// `amd`: the host's CPU is AMD's. The interpreter does as Intel's do, whose model it is.
Verdict judge(const SegmentCase& c, const Result& native, const Result& interpreter, bool amd);

// Segments, registers and the instruction.
std::string to_text(const SegmentCase& c);

}  // namespace dualvm::segments
