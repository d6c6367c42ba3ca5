// Guests of guests/manifest.json, run under engines that hand them over, and all that is left of them at the end.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dualvm/disk.h"
#include "dualvm/run_loop.h"
#include "dualvm/study/switching.h"

namespace dualvm {

struct GuestOfManifest {
    std::string name, file, arguments;
    std::vector<std::string> needs;  // of a host's KVM
    u64 disk_sectors = 0;            // of its disk; 0: it has none
};
// Those that are deterministic, end by themselves and set no timers.
const std::vector<GuestOfManifest>& guests_to_switch();
const GuestOfManifest& guest_of_manifest(const std::string& name);
GuestOfManifest timer_guest();

// Who has the guest between the interpreter and the interpreter.
enum class Other : u8 { Interp, Kvm, Assisted };
const char* to_string(Other other);

// What becomes of the other engine before it is used: a test's own engine around it.
using Wrap = std::function<std::unique_ptr<Engine>(Machine&, std::unique_ptr<Engine>)>;

// A machine with the guest in it. What it refers to comes before it.
struct Loaded {
    std::shared_ptr<std::string> output = std::make_shared<std::string>();  // of its serial port
    std::vector<std::unique_ptr<Disk>> disks;
    std::unique_ptr<Machine> machine;
};
Expected<Loaded> load_guest(const GuestOfManifest& guest);
// Makes its CPU one that this host's KVM can take over, as `dualvm run --switch` does; before any engine is made.
void fit_cpu_to_kvm(Machine& machine);

// The machine as the guest has left it.
struct Ending : Loaded {
    RunResult result;
    EngineStatistics statistics;
    u64 hand_overs = 0, instructions = 0;  // the interpreter's
};

// Runs the guest under the interpreter, which by this plan hands it to "other" and takes it back as "interp". An Error
// of status EngineUnavailable means that this host lacks the other engine.
Expected<Ending> run_guest(const GuestOfManifest& guest, Other other, const study::SwitchPlan& plan,
                           const Wrap& wrap = {});

// What is not as in a run that never switched: registers (but the time stamp counter), memory, pages that are not known
// to be dirty, output, the end. Empty if all is.
std::string differences(const Ending& never_switched, const Ending& switched);

// Why this host's KVM cannot have that guest; empty if it can.
std::string why_not_under_kvm(const GuestOfManifest& guest);
// Whether /dev/kvm is served by kvm_pvm, whose emulator has faults of its own.
bool host_is_pvm();

}  // namespace dualvm
