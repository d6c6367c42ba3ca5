// Measuring what this host's KVM does: which modes it runs directly, what exits cost, what it cannot do.
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
        std::string id;     // for programs: "speed_ring3_64"
        std::string what;   // for people: "ring 3, 64-bit code"
        std::string value;  // a number, or "yes" or "no", or a word
        std::string unit;   // "us", "million instructions/s", or empty
        std::string text;   // what it means
    };
    std::vector<Row> rows;
};

// Takes less than three seconds; every measurement is bounded in time, and one that fails is a row that says so. An
// Error only if there is no usable KVM at all.
Expected<KvmReport> probe_kvm(const ProbeOptions& options);

}  // namespace dualvm
