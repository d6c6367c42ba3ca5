#include "campaign.h"

#include <algorithm>

#include "explain.h"
#include "shrink.h"

namespace dualvm::study {

namespace {

bool share_a_field(const std::vector<FieldDifference>& a, const std::vector<FieldDifference>& b) {
    return std::any_of(a.begin(), a.end(), [&](const FieldDifference& x) {
        return std::any_of(b.begin(), b.end(), [&](const FieldDifference& y) { return x.field == y.field; });
    });
}

// Cases with the same instructions that go wrong in the same fields are taken for one finding. Numbers of registers and
// addresses don't count.
std::string signature(const CaseAnalysis& analysis, const std::vector<FieldDifference>& differences) {
    std::string text;
    for (const CaseInstruction& i : analysis.instructions) {
        text += i.illegal_lock ? "(lock)" : ZydisMnemonicGetString(i.decoded.zydis.mnemonic);
        text += ' ';
    }
    std::set<std::string> fields;
    for (const FieldDifference& d : differences) {
        std::string field = d.field.substr(0, d.field.find_first_of("0123456789"));
        fields.insert(field.starts_with("r") && field != "rip" && field != "rflags" ? "register" : field);
    }
    for (const std::string& field : fields) text += field + ',';
    return text;
}

}  // namespace

Expected<std::unique_ptr<Campaign>> Campaign::create(const CpuModel& model, const FuzzSubjects& subjects) {
    std::unique_ptr<Campaign> campaign(new Campaign(model));
    auto oracle = subjects.oracle();
    if (!oracle) return tl::unexpected(oracle.error());
    campaign->oracle_ = std::move(*oracle);
    for (const MakeRunner& make : subjects.tested) {
        auto tested = make();
        if (!tested) return tl::unexpected(tested.error());
        campaign->tested_.push_back(std::move(*tested));
    }
    campaign->distrust_ = campaign->oracle_->distrust();
    campaign->report_.oracle = campaign->oracle_->name();
    return campaign;
}

void Campaign::count_coverage(const Case& c, const CaseAnalysis& analysis, std::map<std::string, u64>& coverage) {
    for (const CaseInstruction& i : analysis.instructions) {
        const auto key = names_.key(code_mode(c.mode), std::span(c.code).subspan(i.offset, i.length));
        if (key) ++coverage[*key];
    }
}

void Campaign::run(u64 index, const Case& c, const CaseAnalysis& analysis, std::size_t most_findings) {
    oracle_->run(c, oracle_result_);
    bool counted = false;
    for (const auto& tested : tested_) {
        tested->run(c, tested_result_);
        if (const char* why = nothing_to_learn(c, analysis, oracle_result_, tested_result_, distrust_)) {
            ++report_.not_compared;
            ++report_.reasons[why];
            count_coverage(c, analysis, report_.coverage_in_vain);
            return;
        }
        if (!std::exchange(counted, true)) {
            ++report_.cases;
            count_coverage(c, analysis, report_.coverage);
        }
        const auto found_here = compare_results(c, analysis, oracle_result_, tested_result_, distrust_);
        if (found_here.empty()) continue;
        ++report_.different;
        found(index, c, analysis, *tested, found_here, most_findings);
        return;  // the others are likely to be wrong in the same way
    }
}

std::optional<std::vector<FieldDifference>> Campaign::differences(const Case& c, const CaseAnalysis& analysis,
                                                                  Runner& tested) {
    oracle_->run(c, oracle_result_);
    tested.run(c, tested_result_);
    if (nothing_to_learn(c, analysis, oracle_result_, tested_result_, distrust_) != nullptr) return std::nullopt;
    return compare_results(c, analysis, oracle_result_, tested_result_, distrust_);
}

void Campaign::found(u64 index, const Case& c, const CaseAnalysis& analysis, Runner& tested,
                     const std::vector<FieldDifference>& before, std::size_t most_findings) {
    const std::string early = signature(analysis, before);
    if (const auto known = seen_.find(early); known != seen_.end()) {
        ++report_.findings[known->second].times;
        return;
    }
    if (report_.findings.size() >= most_findings) return;
    // A host that is a guest itself may lose state when it is interrupted: what differs, differs each time.
    const auto passed = [&] {
        --report_.different;
        ++report_.not_compared;
        ++report_.reasons["a difference did not happen again"];
    };
    constexpr unsigned kRepeats = 5;
    for (unsigned i = 0; i < kRepeats; ++i) {
        const auto again = differences(c, analysis, tested);
        if (!again || !share_a_field(before, *again)) return passed();
    }
    const auto still_fails = [&](const Case& smaller) {
        const CaseAnalysis of = analyser_.analyse(smaller);
        if (of.tainted) return false;
        const auto now = differences(smaller, of, tested);
        return now && share_a_field(before, *now);
    };
    const auto without_first = [&](const Case& of, unsigned bytes) -> std::optional<Case> {
        Case first = of;
        first.code.resize(bytes);
        oracle_->run(first, oracle_result_);
        if (!oracle_result_.reached_filler(first) || oracle_result_.general.rip != first.code_end())
            return std::nullopt;
        Case rest = of;
        rest.code.erase(rest.code.begin(), rest.code.begin() + bytes);
        rest.code_offset += bytes;
        rest.gpr = oracle_result_.general.gpr;
        rest.rflags = (oracle_result_.general.rflags & ring3::kFreeFlags) | rflags::Fixed1 | rflags::IF;
        rest.fpu = oracle_result_.fpu;
        rest.window = oracle_result_.window;
        return rest;
    };
    Finding finding;
    finding.index = index;
    finding.tested = tested.name();
    finding.smallest = shrink(analyser_, c, still_fails, without_first);
    const CaseAnalysis of = analyser_.analyse(finding.smallest);
    const auto after = differences(finding.smallest, of, tested).value_or(before);
    if (after.empty()) return passed();
    const std::string late = signature(of, after);
    if (const auto known = seen_.find(late); known != seen_.end()) {
        ++report_.findings[known->second].times;
        seen_[early] = known->second;
        return;
    }
    finding.explanation = explain(of, finding.smallest, after, oracle_->name(), tested.name());
    seen_[early] = seen_[late] = report_.findings.size();
    report_.findings.push_back(std::move(finding));
}

}  // namespace dualvm::study
