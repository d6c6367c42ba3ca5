// Where two results of one case differ, and where that would mean nothing.
#pragma once

#include <string>
#include <vector>

#include "analysis.h"

namespace dualvm::study {

struct FieldDifference {
    std::string field, oracle, tested;
    bool operator==(const FieldDifference&) const = default;
};

// Why nothing can be learnt from what the oracle gave; nullptr if something can.
const char* nothing_to_learn(const Case& c, const CaseAnalysis& analysis, const CaseResult& oracle,
                             const CaseResult& tested, const Distrust& distrust);

std::vector<FieldDifference> compare_results(const Case& c, const CaseAnalysis& analysis, const CaseResult& oracle,
                                             const CaseResult& tested, const Distrust& distrust);

const char* register_name(CpuMode mode, unsigned gpr);  // "rax", "eax"
std::string vector_name(u8 vector);                     // "#GP"

}  // namespace dualvm::study
