// Which bits of CR4 KVM_SET_SREGS takes, found out by trying: on some hosts they are more than KVM_GET_SUPPORTED_CPUID
// speaks of (kvm_pvm takes SMEP and SMAP, and not PCIDE).
#pragma once

#include "dualvm/types.h"

namespace dualvm::kvm {

// Those of `bits` that this vCPU, with the CPUID that it was given, may not have: features that this host's KVM lacks.
// The vCPU is left as it was.
u64 refused_cr4_bits(int vcpu, u64 bits);

}  // namespace dualvm::kvm
