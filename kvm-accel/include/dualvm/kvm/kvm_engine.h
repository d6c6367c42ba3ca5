// The engine that lets the CPU run the guest, through /dev/kvm.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dualvm/machine.h"

namespace dualvm {

struct KvmOptions {
    std::string device = "/dev/kvm";
    // Executes single instructions that KVM reports it cannot emulate; any engine on the same machine. Without it such
    // an instruction ends the run with ExitKind::Failure.
    std::unique_ptr<Engine> rescue;
    // Told what of the CPU model this host's KVM cannot give ("cpuid 1 ecx: not available 00100000").
    std::vector<std::string>* cpuid_differences = nullptr;
};

// Fails with ExitStatus::EngineUnavailable, saying which step failed, why, and what to do.
Expected<std::unique_ptr<Engine>> make_kvm_engine(Machine& machine, KvmOptions options);

}  // namespace dualvm
