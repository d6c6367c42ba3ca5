// What the CPU itself keeps of a guest's translations where it walks the guest's page tables (EPT, NPT): entries of its
// TLB, tagged with the guest (SDM vol. 3C, 28.3; APM vol. 2, 15.16). Another engine's INVLPG and MOV CR3 do not reach
// them.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <type_traits>

#include "dualvm/cpu_file.h"
#include "kvm_handles.h"

namespace dualvm::kvm {

// Has them forgotten when the guest is entered, which KVM does for system registers that paging depends on and that
// change: sets `sregs` (kvm_sregs or kvm_sregs2) with CR4.PGE the other way round. What is to hold has to be set behind
// it.
template <class Sregs>
Expected<void> forget_translations(KvmVcpu& vcpu, Sregs sregs) {
    constexpr unsigned long kRequest = std::is_same_v<Sregs, kvm_sregs> ? KVM_SET_SREGS : KVM_SET_SREGS2;
    sregs.cr4 ^= cr4::PGE;
    if (ioctl(vcpu.fd(), kRequest, &sregs) < 0) return ioctl_error("KVM_SET_SREGS, to have translations forgotten,");
    return {};
}

}  // namespace dualvm::kvm
