// The engine that lets the CPU run the guest, through /dev/kvm.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dualvm/machine.h"

namespace dualvm {

struct KvmOptions {
    std::string device = "/dev/kvm";
    // Have KVM log the pages that the guest writes, for collect_dirty() (Capabilities::dirty_log). It maps the guest's
    // memory in pages of 4 KiB then, and a guest that is all over its memory may take twice the time.
    bool dirty_log = true;
    // Executes single instructions that KVM reports it cannot emulate; any engine on the same machine. Without it such
    // an instruction ends the run with ExitKind::Failure.
    std::unique_ptr<Engine> rescue;
    // Told what of the CPU model this host's KVM cannot give ("cpuid 1 ecx: not available 00100000").
    std::vector<std::string>* cpuid_differences = nullptr;
};

// Fails with ExitStatus::EngineUnavailable, saying which step failed, why, and what to do.
Expected<std::unique_ptr<Engine>> make_kvm_engine(Machine& machine, KvmOptions options);

// Bits of CR4 that the machine's CPU model has and this host's KVM refuses: a guest that has set one under another
// engine cannot be handed to KVM. 0 if the device cannot be used.
u64 cr4_bits_refused_by_kvm(const CpuModel& model, const std::string& device);

// Does this host's KVM run programs (64-bit ring 3) on the CPU, but not kernels? VT-x and AMD-V run both, kvm_pvm
// programs alone; anywhere else code is run to find out, some milliseconds once a process. False if the device cannot
// be used.
bool runs_programs_alone(const std::string& device);

struct AssistedOptions {
    std::string device = "/dev/kvm";
    bool dirty_log = true;    // as in KvmOptions
    bool ready_made = false;  // the vCPU for programs is made at once: for who measures what programs take
    // A hand-over and the way back take as long as interpreting some fifty thousand instructions. A program that needs
    // its kernel sooner has no use for the CPU: it is interpreted for so many before it is handed over, so that at most
    // twice the time of the better choice is spent (the rule of those who rent skis before they buy them). It is also
    // what shows programs this machine's CPUID: they ask when they begin.
    u64 patience = 50'000;
};

// The CPU runs the guest's 64-bit programs, `kernel` everything else: an engine on the same machine that can stop at
// programs (Capabilities::stops_at_modes) and whose time stamp counter is the host's. What KVM needs for it is made
// when the first program is to run (or at once: AssistedOptions::ready_made): a failure then is ExitKind::Failure
// with the status EngineUnavailable.
Expected<std::unique_ptr<Engine>> make_assisted_engine(Machine& machine, std::unique_ptr<Engine> kernel,
                                                       const AssistedOptions& options);

}  // namespace dualvm
