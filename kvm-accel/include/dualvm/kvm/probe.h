// What this host's /dev/kvm can do, measured.
//
// "There is a /dev/kvm" says little: one host runs all guest code at the CPU's speed, another emulates most of it. The
// probe runs small pieces of machine code in throwaway virtual machines and reports what happened, in rows that a
// program can print or write as JSON. Each measurement is bounded in time; what fails is a finding, not an error.
#pragma once

#include <string>
#include <vector>

#include "dualvm/types.h"

namespace dualvm {

struct ProbeOptions {
    std::string device = "/dev/kvm";
};

struct KvmReport {
    struct Row {
        std::string id;     // for programs: "cost_out_ring0"
        std::string what;   // for people: "OUT at ring 0, to user space and back"
        std::string value;  // a number, "yes", "no", "failed" or a word
        std::string unit;   // "us", "million instructions/s"; empty for words
        std::string text;   // what it means, or what happened; may be empty
    };
    std::vector<Row> rows;
    // The row of that id, or nullptr.
    const Row* find(std::string_view id) const;
};

// Takes less than three seconds. Fails with ExitStatus::EngineUnavailable where there is no usable KVM.
Expected<KvmReport> probe_kvm(const ProbeOptions& options);

}  // namespace dualvm
