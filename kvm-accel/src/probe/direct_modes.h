// Which modes of the guest run on the CPU itself, found out by running a short loop in each.
#pragma once

#include "probe/lab.h"

namespace dualvm::kvm {

struct DirectModes {
    u32 ring0 = 0, ring3 = 0;  // bits 1 << CpuMode
    bool single_step = false;  // a single step comes back to us, at ring 0 and at ring 3
};

// Measured at the first call in a process, in a few milliseconds. A host that cannot be measured has no direct modes.
const DirectModes& direct_modes(const KvmDevice& device);

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
