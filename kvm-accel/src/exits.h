// What a return of KVM_RUN means: a pure function, tested with made-up kvm_run structures.
#pragma once

#include <linux/kvm.h>

#include "dualvm/exit.h"

namespace dualvm::kvm {

// Port and MMIO data point into `run`. A failure to emulate has the instruction's bytes if KVM gave them; RIP and text
// are filled in by the engine, which can ask the vCPU.
Exit translate_exit(kvm_run& run);

// KVM could not emulate an instruction (KVM_INTERNAL_ERROR_EMULATION): the one failure that another engine can mend.
bool is_emulation_failure(const kvm_run& run);

}  // namespace dualvm::kvm
