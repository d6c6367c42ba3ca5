#include "dualvm/study/fuzz.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include "campaign.h"
#include "explain.h"

namespace dualvm::study {

namespace {

using SteadyClock = std::chrono::steady_clock;

double seconds_since(SteadyClock::time_point begin) {
    return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

// Shared by all threads: which cases are taken, and when to stop.
class Progress {
public:
    explicit Progress(const FuzzOptions& options) : options_(options) {}

    static constexpr u64 kPiece = 64;  // cases that a thread takes at once

    // The first of the next cases to run; nothing when it is over.
    std::optional<u64> take() {
        if (findings_.load() >= options_.most_findings) return std::nullopt;
        if (options_.interrupted != nullptr && options_.interrupted->load()) return std::nullopt;
        if (options_.minutes && seconds_since(begin_) >= *options_.minutes * 60) return std::nullopt;
        const u64 first = next_.fetch_add(kPiece);
        if (first >= options_.cases) return std::nullopt;
        return first;
    }
    void done(u64 cases, u64 findings) {
        const std::lock_guard lock(mutex_);
        cases_ += cases;
        findings_ += findings;
        if (!options_.progress || seconds_since(said_) < 1) return;
        said_ = SteadyClock::now();
        options_.progress(cases_, findings_);
    }
    double seconds() const { return seconds_since(begin_); }

private:
    const FuzzOptions& options_;
    SteadyClock::time_point begin_ = SteadyClock::now(), said_ = begin_;
    std::atomic<u64> next_{0};
    std::mutex mutex_;
    u64 cases_ = 0;
    std::atomic<u64> findings_{0};
};

void run_part(const FuzzOptions& options, const CaseMaker& maker, Progress& progress, Campaign& campaign) {
    Case c;
    CaseAnalysis analysis;
    while (const auto first = progress.take()) {
        const u64 end = std::min(*first + Progress::kPiece, options.cases);
        const std::size_t findings = campaign.report().findings.size();
        for (u64 index = *first; index < end; ++index) {
            if (!maker.make(options.seed, index, c, analysis)) continue;
            c.rflags &= ~campaign.distrust().flags;
            if (campaign.distrust().wild_stack) c.gpr[RSP] = canonical_form(c.gpr[RSP]);
            campaign.run(index, c, analysis, options.most_findings);
        }
        progress.done(end - *first, campaign.report().findings.size() - findings);
    }
}

void add(FuzzReport& to, const FuzzReport& from) {
    to.cases += from.cases;
    to.not_compared += from.not_compared;
    to.different += from.different;
    for (const auto& [reason, count] : from.reasons) to.reasons[reason] += count;
    for (const auto& [key, count] : from.coverage) to.coverage[key] += count;
    for (const auto& [key, count] : from.coverage_in_vain) to.coverage_in_vain[key] += count;
    to.findings.insert(to.findings.end(), from.findings.begin(), from.findings.end());
}

}  // namespace

int FuzzReport::status() const {
    if (different != 0) return static_cast<int>(ExitStatus::Disagreement);
    return static_cast<int>(interrupted ? ExitStatus::Limit : ExitStatus::Clean);
}

Expected<FuzzReport> fuzz(const CpuModel& model, const FuzzOptions& options, const FuzzSubjects& subjects) {
    std::vector<std::unique_ptr<Campaign>> campaigns;
    for (unsigned job = 0; job < std::max(options.jobs, 1u); ++job) {
        auto campaign = Campaign::create(model, subjects);
        if (!campaign) return tl::unexpected(campaign.error());
        campaigns.push_back(std::move(*campaign));
    }
    const bool with32 = campaigns.front()->oracle().can_run(CpuMode::Compatibility32);
    const CaseMaker maker(model, options.only, with32);
    for (const std::string& name : options.only) {
        if (CaseMaker(model, {name}, with32).templates() != 0) continue;
        return fail(
            ExitStatus::Usage,
            fmt::format("--only: '{}' names no instruction that ring 3 can run and two CPUs can agree about", name));
    }
    Progress progress(options);
    std::vector<std::thread> threads;
    for (std::size_t job = 1; job < campaigns.size(); ++job) {
        threads.emplace_back([&, job] { run_part(options, maker, progress, *campaigns[job]); });
    }
    run_part(options, maker, progress, *campaigns.front());
    for (std::thread& thread : threads) thread.join();

    FuzzReport report;
    report.oracle = campaigns.front()->oracle().name();
    for (const auto& campaign : campaigns) add(report, campaign->report());
    report.with_32_bit_code = with32;
    report.seconds = progress.seconds();
    report.interrupted = options.interrupted != nullptr && options.interrupted->load();
    return report;
}

Expected<std::string> replay(const CpuModel& model, const Case& c, Runner& oracle, Runner& tested) {
    const Analyser analyser(model);
    const CaseAnalysis analysis = analyser.analyse(c);
    if (analysis.tainted) return fail(ExitStatus::BadImage, "the case's result is undefined");
    CaseResult expected, got;
    const Distrust distrust = oracle.distrust();
    oracle.run(c, expected);
    tested.run(c, got);
    if (const char* why = nothing_to_learn(c, analysis, expected, got, distrust)) {
        return fail(ExitStatus::EngineFailure, why);
    }
    const auto differences = compare_results(c, analysis, expected, got, distrust);
    if (differences.empty()) return std::string();
    return explain(analysis, c, differences, oracle.name(), tested.name());
}

}  // namespace dualvm::study
