// The host that a result was measured on: every result carries it.
#pragma once

#include <string>

namespace dualvm::study {

struct HostInfo {
    std::string cpu;         // model name of /proc/cpuinfo
    unsigned cpus = 0;       // that this process may use
    std::string kernel;      // "Linux 6.1.0 x86_64"
    std::string kvm_module;  // "kvm_intel", "kvm_amd", "kvm_pvm"; empty if none is loaded
    std::string compiler;    // that built this program
};

HostInfo host_info();

}  // namespace dualvm::study
