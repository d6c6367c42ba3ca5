// The CPU model, as much of it as this host's KVM can give.
#pragma once

#include <string>
#include <vector>

#include "dualvm/cpu_model.h"
#include "kvm_handles.h"

namespace dualvm::kvm {

// KVM_SET_CPUID2 with the model's leaves; feature bits that KVM does not support are left out and named in
// `differences`, if it is there.
Expected<void> set_cpuid(const KvmDevice& device, KvmVcpu& vcpu, const CpuModel& model,
                         std::vector<std::string>* differences);

}  // namespace dualvm::kvm
