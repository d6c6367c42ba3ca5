// A case as people read it: its instructions, what it starts from, and both results where they differ.
#pragma once

#include <string>
#include <vector>

#include "difference.h"

namespace dualvm::study {

// "  10000000  48 01 d8   add rax, rbx", a line each.
std::vector<std::string> listing(const CaseAnalysis& analysis, const Case& c);

std::string explain(const CaseAnalysis& analysis, const Case& c, const std::vector<FieldDifference>& differences,
                    const char* oracle, const char* tested);

}  // namespace dualvm::study
