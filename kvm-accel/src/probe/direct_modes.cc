#include "probe/direct_modes.h"

#include <sys/ioctl.h>

#include <algorithm>

namespace dualvm::kvm {

LoopTime time_loop(Lab& lab, LabMode mode, unsigned ring, u64 iterations) {
    LoopTime result;
    const Piece code = mode == LabMode::Real ? piece::loop16 : piece::loop;
    if (auto entered = lab.enter(mode, ring, code); !entered) {
        result.end.error = EINVAL;
        return result;
    }
    lab.cpu().general.gpr[RCX] = iterations;
    if (!lab.push(Groups::General)) {
        result.end.error = EINVAL;
        return result;
    }
    const Nanoseconds start = monotonic_now();
    result.end = lab.run();
    result.time = monotonic_now() - start;
    return result;
}

StepResult try_single_step(Lab& lab, unsigned ring) {
    StepResult result;
    kvm_guest_debug debug{};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    if (!lab.enter(LabMode::Long64, ring, piece::nops) || ioctl(lab.vcpu().fd(), KVM_SET_GUEST_DEBUG, &debug) < 0) {
        result.end.error = EINVAL;
        return result;
    }
    result.end = lab.run();
    result.one_instruction = result.end.reason == KVM_EXIT_DEBUG && lab.vcpu().run().debug.arch.pc == lab::kCode + 1;
    debug.control = 0;
    ioctl(lab.vcpu().fd(), KVM_SET_GUEST_DEBUG, &debug);
    return result;
}

namespace {

constexpr u32 bit(CpuMode mode) { return 1u << static_cast<unsigned>(mode); }

// Four hundred instructions: a fraction of a microsecond on a CPU, 60 to 600 in the emulators that were met.
bool runs_directly(Lab& lab, LabMode mode, unsigned ring) {
    constexpr u64 kIterations = 200;
    constexpr Nanoseconds kMost = 30'000;
    Nanoseconds one = kNever, many = kNever;
    for (unsigned attempt = 0; attempt < 2; ++attempt) {  // the best counts: another process may have come between
        const LoopTime a = time_loop(lab, mode, ring, 1);
        const LoopTime b = time_loop(lab, mode, ring, kIterations);
        if (!a.end.done() || !b.end.done()) return false;
        one = std::min(one, a.time);
        many = std::min(many, b.time);
        if (many < one + kMost) return true;
    }
    return false;
}

TriedCapabilities measure(const KvmDevice& device) {
    TriedCapabilities direct;
    auto lab = Lab::create(device);
    if (!lab) return direct;
    if (runs_directly(**lab, LabMode::Long64, 3)) direct.direct_modes_ring3 |= bit(CpuMode::Long64);
    if (runs_directly(**lab, LabMode::Compatibility32, 3)) {
        direct.direct_modes_ring3 |= bit(CpuMode::Compatibility16) | bit(CpuMode::Compatibility32);
    }
    if (runs_directly(**lab, LabMode::Long64, 0)) {
        direct.direct_modes_ring0 |=
            bit(CpuMode::Long64) | bit(CpuMode::Compatibility16) | bit(CpuMode::Compatibility32);
    }
    if (runs_directly(**lab, LabMode::Protected32, 0)) {
        const u32 modes = bit(CpuMode::Protected16) | bit(CpuMode::Protected32);
        direct.direct_modes_ring0 |= modes;
        direct.direct_modes_ring3 |= modes;
    }
    if (runs_directly(**lab, LabMode::Real, 0)) {
        direct.direct_modes_ring0 |= bit(CpuMode::Real);
        direct.direct_modes_ring3 |= bit(CpuMode::Virtual8086);
    }
    direct.single_step = try_single_step(**lab, 0).one_instruction && try_single_step(**lab, 3).one_instruction;
    return direct;
}

}  // namespace

bool programs_alone_run_directly(const KvmDevice& device) {
    static const bool alone = [&] {
        const auto lab = Lab::create(device);
        return lab && runs_directly(**lab, LabMode::Long64, 3) && !runs_directly(**lab, LabMode::Long64, 0);
    }();
    return alone;
}

const TriedCapabilities& direct_modes(const KvmDevice& device) {
    static const TriedCapabilities measured = measure(device);
    return measured;
}

}  // namespace dualvm::kvm
