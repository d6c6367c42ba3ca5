// One thread's part of a fuzzing run: an oracle, what is tested against it, and what came of the cases so far.
#pragma once

#include <set>

#include "analysis.h"
#include "case_maker.h"
#include "difference.h"
#include "dualvm/study/fuzz.h"

namespace dualvm::study {

class Campaign {
public:
    static Expected<std::unique_ptr<Campaign>> create(const CpuModel& model, const FuzzSubjects& subjects);

    const Runner& oracle() const { return *oracle_; }
    const Distrust& distrust() const { return distrust_; }
    // Runs a case everywhere, notes coverage, and shrinks it if it fails in a way not seen before.
    void run(u64 index, const Case& c, const CaseAnalysis& analysis, std::size_t most_findings);

    const FuzzReport& report() const { return report_; }

private:
    explicit Campaign(const CpuModel& model) : names_(model), analyser_(model) {}
    void count_coverage(const Case& c, const CaseAnalysis& analysis, std::map<std::string, u64>& coverage);
    void found(u64 index, const Case& c, const CaseAnalysis& analysis, Runner& tested,
               const std::vector<FieldDifference>& differences, std::size_t most_findings);
    // Runs it on both; nothing if there is nothing to learn from it.
    std::optional<std::vector<FieldDifference>> differences(const Case& c, const CaseAnalysis& analysis,
                                                            Runner& tested);

    FormNames names_;
    Analyser analyser_;
    std::unique_ptr<Runner> oracle_;
    Distrust distrust_;
    std::vector<std::unique_ptr<Runner>> tested_;
    CaseResult oracle_result_, tested_result_;
    FuzzReport report_;
    std::map<std::string, std::size_t> seen_;  // what failed how -> which finding
};

}  // namespace dualvm::study
