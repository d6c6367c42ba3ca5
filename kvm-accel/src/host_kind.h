// Which kernel module serves /dev/kvm, and what follows from it.
#pragma once

#include <string>

namespace dualvm::kvm {

enum class HostKind { Vmx, Svm, Pvm, Unknown };

// By the modules that are loaded and the CPU's flags; costs a few system calls.
HostKind host_kind();
const char* to_string(HostKind kind);

// True where the CPU walks the guest's page tables itself. Elsewhere KVM shadows them.
inline bool nested_paging(HostKind kind) { return kind == HostKind::Vmx || kind == HostKind::Svm; }

}  // namespace dualvm::kvm
