// The CPU model, as much of it as this host's KVM can give.
#pragma once

#include <string>
#include <vector>

#include "dualvm/cpu_model.h"
#include "kvm_handles.h"
#include "kvm_layout.h"

namespace dualvm::kvm {

using CpuidList = KvmList<kvm_cpuid_entry2>;

// KVM_GET_SUPPORTED_CPUID: the leaves with all that this host's KVM can give a guest.
Expected<CpuidList> supported_cpuid(const KvmDevice& device);

// The model's leaves without the feature bits that are not in `supported`, which are named in `differences`, if that
// is there. A pure function.
CpuidList intersect(const CpuModel& model, CpuidList& supported, std::vector<std::string>* differences);

// KVM_SET_CPUID2 with what the two above give.
Expected<void> set_cpuid(const KvmDevice& device, KvmVcpu& vcpu, const CpuModel& model,
                         std::vector<std::string>* differences);

}  // namespace dualvm::kvm
