// A PC with its guest loaded and an engine on it, as run, compare and trace use it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dualvm/devices/pc.h"
#include "dualvm/run_loop.h"
#include "engines.h"
#include "options.h"
#include "watched_disk.h"

namespace dualvm::app {

struct GuestOutputs {
    std::function<void(u8)> serial;         // dropped if empty
    std::function<void(u8)> debug_console;  // likewise
    std::function<void(u8)> firmware;       // what firmware says of its work; it is quiet if empty
    std::function<void(const boot::BootReport&)> loaded;
    std::function<void(const std::string&)> disk_trouble;  // what the host has against a guest's access to its disk
};

// Members are destroyed from the last to the first: the engine goes before its machine.
struct Guest {
    std::vector<std::unique_ptr<WatchedDisk>> disks;
    std::unique_ptr<Machine> machine;
    std::unique_ptr<devices::Pc> pc;
    boot::BootReport boot;
    std::unique_ptr<Engine> engine;
};

// To be called when the run is over: what the guest wrote and never flushed is in its images, or the first error.
Expected<void> finish_disks(Guest& guest);

Expected<Guest> make_guest(const Options& options, EngineName engine, ClockKind clock, const GuestOutputs& outputs);

// The hooks that every run has: a signal ends it, and a reset starts the guest again unless -no-reboot says otherwise.
// All three must outlive them.
RunHooks usual_hooks(Machine& machine, devices::Pc& pc, const Options& options);

}  // namespace dualvm::app
