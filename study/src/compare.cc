#include "dualvm/study/compare.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm::study {

namespace {

constexpr Groups kCompared = Groups::All & ~Groups::Events;
constexpr int kLimit = static_cast<int>(ExitStatus::Limit);

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// One run. Everything that has to be known is taken from the subject, which is then given back to the host.
RunResult run_once(Subject& subject, const RunLimits& limits) {
    RunResult result = run_loop(*subject.machine, *subject.engine, limits, subject.hooks);
    subject.engine->pull(Groups::All);
    subject.engine->collect_dirty();
    return result;
}

bool cut(const EngineRun& run) { return run.result.status == kLimit; }

struct Printed {
    const std::string& text;
    bool cut;  // by a limit
};

// One that was cut has printed the beginning of what the other printed.
bool may_be_the_same(const Printed& a, const Printed& b) {
    const std::size_t common = std::min(a.text.size(), b.text.size());
    const bool shorter_was_cut = (a.text.size() <= b.text.size() || b.cut) && (b.text.size() <= a.text.size() || a.cut);
    return shorter_was_cut && a.text.compare(0, common, b.text, 0, common) == 0;
}

Expected<EngineRun> run_engine(const std::string& engine, const CompareOptions& options, const MakeSubject& make) {
    EngineRun run;
    run.engine = engine;
    for (unsigned i = 0; i < options.repeat; ++i) {
        auto subject = make(engine);
        if (!subject) {
            if (subject.error().status != ExitStatus::EngineUnavailable) return tl::unexpected(subject.error());
            run.unavailable = subject.error().text;
            return run;
        }
        const bool counts = (*subject)->engine->capabilities().exact_instruction_counts;
        if (options.limits.max_instructions != kUnlimited && !counts) {
            run.unavailable = "it cannot count instructions, so --max-insns cannot be kept";
            return run;
        }
        RunResult result = run_once(**subject, options.limits);
        run.interrupted = result.reason == "interrupted";
        if (i != 0 && run.interrupted) break;  // what it did and how long it took is of no whole run
        // Nor is the time of one that a limit ended, beside whole ones.
        if (i == 0 || cut(run) || result.status != kLimit) run.seconds.push_back(result.seconds);
        if (i == 0) {
            run.result = std::move(result);
            run.output = *(*subject)->output;
            run.statistics = (*subject)->engine->statistics();
            run.cpu = (*subject)->machine->cpu();
            run.dirty_pages = (*subject)->machine->vmem().dirty_pages();
        } else if (result.status == kLimit || cut(run)) {
            run.cut_later = run.cut_later || result.status == kLimit;
            if (!may_be_the_same({run.output, cut(run)}, {*(*subject)->output, result.status == kLimit})) {
                run.same_every_time = false;
            }
        } else if (result.status != run.result.status || *(*subject)->output != run.output) {
            run.same_every_time = false;
        }
        if (run.interrupted) break;
    }
    run.median_seconds = median(run.seconds);
    return run;
}

std::string quoted(std::string_view output, std::size_t at) {
    constexpr std::size_t kShown = 40;
    if (at >= output.size()) return "nothing more";
    std::string text;
    for (char c : output.substr(at, kShown)) {
        if (c == '\n') {
            text += "\\n";
        } else if (c == '\r') {
            text += "\\r";
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
            text += c;
        }
    }
    return fmt::format("\"{}\"{}", text, output.size() - at > kShown ? "..." : "");
}

std::string where_outputs_differ(const EngineRun& a, const EngineRun& b) {
    const auto [in_a, in_b] = std::mismatch(a.output.begin(), a.output.end(), b.output.begin(), b.output.end());
    const auto at = static_cast<std::size_t>(in_a - a.output.begin());
    const auto line = 1 + std::count(a.output.begin(), in_a, '\n');
    return fmt::format("serial output differs at byte {} (line {}): {} printed {}, {} printed {}", at, line, a.engine,
                       quoted(a.output, at), b.engine, quoted(b.output, at));
}

void compare_two(const EngineRun& a, const EngineRun& b, Comparison& comparison) {
    if (cut(a) || cut(b)) {
        comparison.cut_short = true;
        if (!may_be_the_same({a.output, cut(a)}, {b.output, cut(b)})) {
            comparison.disagreements.push_back(where_outputs_differ(a, b));
        }
        return;
    }
    if (a.output != b.output) comparison.disagreements.push_back(where_outputs_differ(a, b));
    if (a.result.status != b.result.status || a.result.reason != b.result.reason) {
        comparison.disagreements.push_back(fmt::format("{} ended with status {} ({}), {} with status {} ({})", a.engine,
                                                       a.result.status, a.result.reason, b.engine, b.result.status,
                                                       b.result.reason));
    }
    if (comparison.cpu_differences.empty()) comparison.cpu_differences = differences(a.cpu, b.cpu, kCompared);
}

void work_out_speeds(Comparison& comparison) {
    double slowest = 0;
    const EngineRun* counter = nullptr;
    for (const EngineRun& run : comparison.runs) {
        if (run.unavailable) continue;
        slowest = std::max(slowest, run.median_seconds);
        if (run.result.instructions && !cut(run) && counter == nullptr) counter = &run;
    }
    for (EngineRun& run : comparison.runs) {
        if (run.unavailable || run.median_seconds <= 0) continue;
        run.speedup = slowest / run.median_seconds;
        std::optional<u64> instructions = run.result.instructions;
        run.mips_count_from = run.engine;
        if (!instructions && counter != nullptr && !cut(run) && comparison.disagreements.empty()) {
            instructions = counter->result.instructions;
            run.mips_count_from = counter->engine;
        }
        if (instructions) run.mips = static_cast<double>(*instructions) / run.median_seconds / 1e6;
    }
}

}  // namespace

unsigned Comparison::ran() const {
    return static_cast<unsigned>(std::count_if(runs.begin(), runs.end(), [](const auto& r) { return !r.unavailable; }));
}

// 14 if the engines disagreed. If they agreed on an end that is dualvm's own word for trouble (triple fault, failure,
// limit), that; else 0, whatever value the guest ended with.
int Comparison::status() const {
    if (!disagreements.empty()) return static_cast<int>(ExitStatus::Disagreement);
    if (ran() == 0) return static_cast<int>(ExitStatus::EngineUnavailable);
    int status = 0;
    for (const EngineRun& run : runs) {
        if (!run.unavailable && run.result.status % 2 == 0) status = std::max(status, run.result.status);
        if (run.interrupted || run.cut_later) status = std::max(status, kLimit);
    }
    return status;
}

Expected<Comparison> compare(const CompareOptions& options, const MakeSubject& make) {
    Comparison comparison;
    bool interrupted = false;
    for (const std::string& engine : options.engines) {
        if (interrupted) {
            EngineRun run;
            run.engine = engine;
            run.unavailable = "the comparison was interrupted";
            comparison.runs.push_back(std::move(run));
            continue;
        }
        auto run = run_engine(engine, options, make);
        if (!run) return tl::unexpected(run.error());
        interrupted = run->interrupted;
        comparison.runs.push_back(std::move(*run));
    }
    const EngineRun* first = nullptr;
    for (const EngineRun& run : comparison.runs) {
        if (run.unavailable) continue;
        comparison.cut_short = comparison.cut_short || run.cut_later;
        if (!run.same_every_time) {
            comparison.disagreements.push_back(
                fmt::format("{} did not do the same in each of its {} runs", run.engine, run.seconds.size()));
        }
        if (first == nullptr) {
            first = &run;
        } else {
            compare_two(*first, run, comparison);
        }
    }
    work_out_speeds(comparison);
    return comparison;
}

}  // namespace dualvm::study
