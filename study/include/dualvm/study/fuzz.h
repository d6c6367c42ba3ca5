// fuzz: generated instructions under an oracle (the host's CPU, or KVM where it lets the CPU run them) and under what
// is to be proved right. All that ring 3 can see must be equal.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dualvm/cpu_model.h"
#include "dualvm/study/ring3_case.h"

namespace dualvm::study {

using MakeRunner = std::function<Expected<std::unique_ptr<Runner>>()>;

struct FuzzSubjects {
    MakeRunner oracle;
    std::vector<MakeRunner> tested;
};

struct FuzzOptions {
    u64 cases = 100'000;
    u64 seed = 1;
    std::optional<double> minutes;   // ends then, if cases have not ended it
    unsigned jobs = 1;               // threads, each with an oracle of its own
    std::vector<std::string> only;   // mnemonics; empty: everything
    std::size_t most_findings = 20;  // ends then, too
    const std::atomic<bool>* interrupted = nullptr;
    std::function<void(u64 cases, u64 findings)> progress;  // about once a second, from any thread
};

// A case in which the two differ, as small as it could be made.
struct Finding {
    u64 index = 0;  // of the case as it was found
    Case smallest;
    std::string tested;       // the name of the runner that differed from the oracle
    std::string explanation;  // listing, state, and both results where they differ
    u64 times = 1;            // found like that
};

struct FuzzReport {
    std::string oracle;
    u64 cases = 0;         // run and compared
    u64 not_compared = 0;  // nothing could be learnt from these: the reasons
    std::map<std::string, u64> reasons;
    u64 different = 0;  // cases
    std::vector<Finding> findings;
    std::map<std::string, u64> coverage;          // InstructionForm::key() -> cases that had one
    std::map<std::string, u64> coverage_in_vain;  // the same of cases that could not be compared
    bool with_32_bit_code = false;                // the oracle can run it
    double seconds = 0;
    bool interrupted = false;

    int status() const;  // process exit status: 14 if there were differences
};

Expected<FuzzReport> fuzz(const CpuModel& model, const FuzzOptions& options, const FuzzSubjects& subjects);

// --- cases that are kept
// ----------------------------------------------------------------------------------------------

// A case as a text that people can read and change: JSON, with a listing.
std::string case_to_json(const CpuModel& model, const Case& c, const std::string& about);
Expected<Case> case_from_json(const std::string& text);

// Runs one case on both. Empty if they agree, else the explanation; an Error if the oracle could say nothing about it.
Expected<std::string> replay(const CpuModel& model, const Case& c, Runner& oracle, Runner& tested);

}  // namespace dualvm::study
