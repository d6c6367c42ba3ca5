// Which kernel module serves /dev/kvm, and what follows from it.
#pragma once

namespace dualvm::kvm {

enum class HostKind { Vmx, Svm, Pvm, Unknown };  // Unknown: no module that is known here, or more than one

// By the modules that are loaded and the CPU's flags; costs a few system calls.
HostKind host_kind();
const char* to_string(HostKind kind);

// True where the CPU walks the guest's page tables itself (EPT, NPT). Elsewhere KVM shadows them.
bool nested_paging(HostKind kind);

}  // namespace dualvm::kvm
