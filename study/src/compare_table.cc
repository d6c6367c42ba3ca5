// A comparison as text for people.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "dualvm/study/compare.h"

namespace dualvm::study {

namespace {

std::string seconds_text(double seconds) {
    if (seconds < 1e-3) return fmt::format("{:.0f} us", seconds * 1e6);
    if (seconds < 1) return fmt::format("{:.1f} ms", seconds * 1e3);
    return fmt::format("{:.3f} s", seconds);
}

std::string speed_text(const EngineRun& run) {
    if (!run.mips) return "-";
    return fmt::format("{}{:.1f}", run.mips_count_from == run.engine ? "" : "~", *run.mips);
}

using Row = std::vector<std::string>;

// Columns as wide as their widest cell; the first is flush left, the others flush right.
std::string table(const std::vector<Row>& rows, const TableStyle& style) {
    std::vector<std::size_t> widths;
    for (const Row& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (std::size_t r = 0; r < rows.size(); ++r) {
        std::string line;
        for (std::size_t i = 0; i < rows[r].size(); ++i) {
            line +=
                i == 0 ? fmt::format("{:<{}}", rows[r][i], widths[i]) : fmt::format("  {:>{}}", rows[r][i], widths[i]);
        }
        text += r == 0 ? style.bold + line + style.plain : line;
        text += '\n';
    }
    return text;
}

}  // namespace

std::string to_text(const Comparison& comparison, const TableStyle& style) {
    std::vector<const EngineRun*> ran;
    for (const EngineRun& run : comparison.runs) {
        if (!run.unavailable) ran.push_back(&run);
    }
    std::vector<Row> rows = {{"engine", "result", "status", "instructions", "time", "MIPS", "speedup"}};
    for (const EngineRun* run : ran) {
        rows.push_back({run->engine, run->result.reason, std::to_string(run->result.status),
                        run->result.instructions ? std::to_string(*run->result.instructions) : "-",
                        seconds_text(run->median_seconds), speed_text(*run), fmt::format("{:.2f} x", run->speedup)});
    }
    std::string text;
    auto to = std::back_inserter(text);
    if (!ran.empty()) text += table(rows, style);
    for (const EngineRun* run : ran) {
        if (run->mips && run->mips_count_from != run->engine) {
            fmt::format_to(to, "~ {} does not count instructions: its MIPS are worked out from the count of {}\n",
                           run->engine, run->mips_count_from);
        }
    }
    for (const EngineRun& run : comparison.runs) {
        if (run.unavailable) fmt::format_to(to, "{}: not run: {}\n", run.engine, *run.unavailable);
    }
    if (ran.empty()) return text;

    Row heading = {"exits"};
    for (const EngineRun* run : ran) heading.push_back(run->engine);
    std::vector<Row> exits = {heading};
    for (std::size_t kind = 0; kind < kExitKinds; ++kind) {
        Row row = {to_string(static_cast<ExitKind>(kind))};
        bool any_exit = false;
        for (const EngineRun* run : ran) {
            row.push_back(std::to_string(run->statistics.exits[kind]));
            any_exit = any_exit || run->statistics.exits[kind] != 0;
        }
        if (any_exit) exits.push_back(std::move(row));
    }
    auto other = [&](const char* name, auto&& value) {
        Row row = {name};
        for (const EngineRun* run : ran) row.push_back(std::to_string(value(*run)));
        exits.push_back(std::move(row));
    };
    other("interrupts", [](const EngineRun& run) { return run.statistics.interrupts_injected; });
    other("rescues", [](const EngineRun& run) { return run.statistics.rescues; });
    text += '\n' + table(exits, style) + '\n';

    if (ran.size() < 2) {
        fmt::format_to(to, "only {} {}: nothing was compared\n", ran.front()->engine,
                       ran.front()->interrupted ? "ran" : "could run here");
        return text;
    }
    for (const std::string& disagreement : comparison.disagreements) {
        fmt::format_to(to, "the engines disagree: {}\n", disagreement);
    }
    if (comparison.disagreements.empty()) {
        fmt::format_to(to, "serial output: the same under {} engines ({} bytes){}\n", ran.size(),
                       ran.front()->output.size(), comparison.cut_short ? ", as far as the limit let them run" : "");
    }
    if (comparison.cut_short) return text;
    if (comparison.cpu_differences.empty()) {
        text += "registers at the end: the same\n";
    } else {
        fmt::format_to(to, "registers at the end ({} <> {}):\n{}", ran[0]->engine, ran[1]->engine,
                       comparison.cpu_differences);
    }
    return text;
}

}  // namespace dualvm::study
