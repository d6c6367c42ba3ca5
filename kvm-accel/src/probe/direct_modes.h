// Which modes of the guest run on the CPU itself, found out by running a short loop in each.
#pragma once

#include "dualvm/engine.h"
#include "probe/lab.h"

namespace dualvm::kvm {

// Measured at the first call in a process, in a few milliseconds. A host that cannot be measured has no direct modes.
const TriedCapabilities& direct_modes(const KvmDevice& device);

// The part of it that a start asks where the kind of KVM does not tell: 64-bit programs run on the CPU, and 64-bit
// kernels do not. Found out at the first call in a process, in some milliseconds.
bool programs_alone_run_directly(const KvmDevice& device);

// A loop of two instructions, `iterations` times, in the given mode: the time it took, or how it failed.
struct LoopTime {
    LabEnd end;
    Nanoseconds time = 0;
};
LoopTime time_loop(Lab& lab, LabMode mode, unsigned ring, u64 iterations);
inline constexpr u64 kLoopInstructions = 2;

// KVM_GUESTDBG_SINGLESTEP from a NOP, in 64-bit mode: how it ended, and whether that was one instruction further.
struct StepResult {
    LabEnd end;
    bool one_instruction = false;
};
StepResult try_single_step(Lab& lab, unsigned ring);

}  // namespace dualvm::kvm
