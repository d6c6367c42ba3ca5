// compare: one guest configuration under every engine that this host has, and what each did and what it cost.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dualvm/run_loop.h"

namespace dualvm::study {

// A machine with its guest loaded and an engine on it, ready to run. Members are destroyed from the last to the first:
// what `attachments` holds may refer to the engine, the engine refers to the machine.
struct Subject {
    std::unique_ptr<Machine> machine;
    std::unique_ptr<Engine> engine;
    RunHooks hooks;
    std::shared_ptr<std::string> output = std::make_shared<std::string>();  // the guest's serial port goes here
    std::shared_ptr<void> attachments;                                      // whatever else must live as long
};

// Makes a fresh subject for the engine of that name. An Error of status EngineUnavailable means that this host lacks
// the engine; any other is about the guest, and ends the comparison.
using MakeSubject = std::function<Expected<std::unique_ptr<Subject>>(const std::string& engine)>;

struct CompareOptions {
    std::vector<std::string> engines;
    unsigned repeat = 1;  // runs under each engine; times are medians
    RunLimits limits;
};

struct EngineRun {
    std::string engine;
    std::optional<std::string> unavailable;  // why this engine did not run; the rest is then empty
    RunResult result;                        // of the first run
    std::string output;
    EngineStatistics statistics;
    CpuFile cpu;                  // at the end of the first run
    std::vector<double> seconds;  // every run's
    double median_seconds = 0;
    bool same_every_time = true;  // every run had the status and output of the first, as far as a limit let it
    bool cut_later = false;       // a limit ended a run behind the first
    bool interrupted = false;     // the last run was ended from outside
    u64 dirty_pages = 0;
    // Million instructions a second. Where the engine can't count, another engine's count of the same run is used.
    std::optional<double> mips;
    std::string mips_count_from;  // whose count it was
    double speedup = 1;           // against the slowest
};

struct Comparison {
    std::vector<EngineRun> runs;
    std::vector<std::string> disagreements;  // in results or outputs, a sentence each; empty if the engines agreed
    std::string cpu_differences;             // CpuFiles at the end, as dualvm::differences() has them; "" if equal
    bool cut_short = false;                  // a limit ended a run: outputs were compared as far as they go

    unsigned ran() const;  // engines that could run
    int status() const;    // process exit status: 14 if the engines disagreed; see compare.cc
};

Expected<Comparison> compare(const CompareOptions& options, const MakeSubject& make);

// The table that the command line prints. `bold` is put around headings (terminal escapes, or empty).
struct TableStyle {
    std::string bold, plain;
};
std::string to_text(const Comparison& comparison, const TableStyle& style = {});

}  // namespace dualvm::study
