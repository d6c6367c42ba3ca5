// How fast guest code runs, mode by mode, against the same loop in this process.
#include <fmt/format.h>

#include <algorithm>

#include "probe/direct_modes.h"
#include "probe/measures.h"

namespace dualvm::kvm {

namespace {

// Million instructions a second of the loop that time_loop() runs in the guest.
double native_speed() {
    constexpr u64 kIterations = 10'000'000;
    Nanoseconds best = kNever;
    for (unsigned attempt = 0; attempt < 3; ++attempt) {
        u64 left = kIterations;
        const Nanoseconds start = monotonic_now();
        asm volatile("0: decl %k0\n\tjnz 0b" : "+r"(left) : : "cc");
        best = std::min(best, monotonic_now() - start);
    }
    return static_cast<double>(kIterations * kLoopInstructions) * 1e3 / static_cast<double>(std::max<u64>(best, 1));
}

struct Mode {
    const char* id;
    const char* what;
    LabMode mode;
    unsigned ring;
};
constexpr Mode kModes[] = {
    {"speed_ring3_64", "the same, ring 3, 64-bit", LabMode::Long64, 3},
    {"speed_ring0_64", "ring 0, 64-bit", LabMode::Long64, 0},
    {"speed_ring0_32", "ring 0, 32-bit protected mode", LabMode::Protected32, 0},
    {"speed_real", "real mode", LabMode::Real, 0},
    {"speed_ring3_32", "ring 3, compatibility mode", LabMode::Compatibility32, 3},
};

}  // namespace

void report_speed(Report& report, const KvmDevice& device) {
    constexpr const char* kUnit = "million instructions/s";
    const double native = native_speed();
    report.number("speed_native", "tight loop in a process", native, kUnit);
    for (const Mode& mode : kModes) {
        auto lab = Lab::create(device);
        if (!lab) {
            report.failed(mode.id, mode.what, lab.error().text);
            continue;
        }
        // A short loop says whether it is worth a long one.
        LoopTime loop = time_loop(**lab, mode.mode, mode.ring, 5'000);
        u64 iterations = 5'000;
        if (loop.end.done() && loop.time < 1'000'000) {
            iterations = 10'000'000;
            for (unsigned attempt = 0; attempt < 3; ++attempt) {
                LoopTime again = time_loop(**lab, mode.mode, mode.ring, iterations);
                if (attempt == 0 || !again.end.done() || again.time < loop.time) loop = again;
                if (!loop.end.done()) break;
            }
        }
        if (!loop.end.done()) {
            report.failed(mode.id, mode.what, loop.end.text());
            continue;
        }
        const double speed = static_cast<double>(iterations * kLoopInstructions) * 1e3 /
                             static_cast<double>(std::max<u64>(loop.time, 1));
        const bool direct = speed > native / 4;  // an emulator is a hundred times slower, a busy host not four
        report.number(mode.id, mode.what, speed, kUnit,
                      direct ? fmt::format("runs directly, {:.2f} x native", speed / native)
                             : fmt::format("emulated, native is {:.0f} x faster", native / speed));
    }
    const TriedCapabilities& quick = direct_modes(device);
    report.word("direct_modes", "what the engine takes for direct",
                fmt::format("{}/{}", quick.direct_modes_ring0 != 0 ? "ring 0" : "-",
                            quick.direct_modes_ring3 != 0 ? "ring 3" : "-"),
                fmt::format("mode bits {:02x}h at ring 0, {:02x}h at ring 3", quick.direct_modes_ring0,
                            quick.direct_modes_ring3));
}

}  // namespace dualvm::kvm
