// Engine: the contract that the interpreter, the KVM driver and every engine after them keep.
#pragma once

#include <limits>
#include <map>

#include "dualvm/clock.h"
#include "dualvm/cpu_file.h"
#include "dualvm/exit.h"

namespace dualvm {

inline constexpr u64 kUnlimited = std::numeric_limits<u64>::max();

// Where else run() comes back, after at least one instruction. A program is 64-bit code at ring 3.
enum class Until : u8 {
    Limits,   // nowhere
    Program,  // a program comes next, and no event before it: ExitKind::UserMode
    Kernel,   // what comes next is none: ExitKind::KernelMode
};

// How long run() may go on. Whichever is used up first ends it.
struct Budget {
    u64 instructions = kUnlimited;   // exact where Capabilities::exact_instruction_counts
    Nanoseconds host_time = kNever;  // of the host's time, from the call on; met within about a millisecond
    // A time on the machine's virtual clock. Not only instructions take time there: how many there are on the way to it
    // is known when it has come (docs/decisions/0038). Where Capabilities::virtual_clock.
    Nanoseconds clock_time = kNever;
    // Where Capabilities::stops_at_modes; elsewhere it is ignored.
    Until until = Until::Limits;

    bool clock_time_is_over(const Clock& clock) const { return clock_time != kNever && clock.now() >= clock_time; }
};

// What this engine can do on this host. Callers ask for a capability, never which engine it is.
struct Capabilities {
    bool exact_instruction_counts = false;  // instructions() is known and Budget::instructions is exact
    bool dirty_log = false;                 // collect_dirty() is exact
    bool virtual_clock = false;             // can drive a VirtualClock
    bool stops_at_modes = false;            // keeps Budget::until
};

// What only trying tells.
struct TriedCapabilities {
    bool single_step = false;  // Budget{.instructions = 1} executes exactly one instruction, in every mode and ring
    // Modes that run at the CPU's own speed, as bits 1 << CpuMode, at ring 0 and at ring 3.
    u32 direct_modes_ring0 = 0, direct_modes_ring3 = 0;
};

struct EngineStatistics {
    std::array<u64, kExitKinds> exits{};  // by ExitKind; port and MMIO accesses are counted under every engine alike
    u64 interrupts_injected = 0;
    u64 exceptions_delivered = 0;  // 0 where the hardware delivers them unseen
    u64 pulls = 0, pushes = 0;     // state transfers
    u64 rescues = 0;               // instructions this engine could not execute and the rescue engine did
    // What else the engine counts, named for people ("blocks built", "TLB misses", "rescued fwait"): name -> count.
    std::map<std::string, u64> named;
};

class Engine {
public:
    virtual ~Engine() = default;

    virtual const char* name() const = 0;  // "interp", "kvm"
    virtual Capabilities capabilities() const = 0;
    // The first call in a process may take some ten milliseconds: code is run in every mode to find out.
    virtual TriedCapabilities tried_capabilities() const = 0;

    // Executes guest code until the machine must handle something or the budget is used up. After a port or MMIO exit
    // the access is complete only when run() has been called again or finish_access() has returned.
    virtual Exit run(const Budget& budget) = 0;

    // From any thread or a signal handler: makes the current run(), or else the next, come back soon.
    virtual void kick() = 0;

    // Brings the named groups of the machine's CpuFile up to date. Finishes a pending access first.
    virtual void pull(Groups groups) = 0;
    // Makes the engine adopt the named groups of the machine's CpuFile.
    virtual void push(Groups groups) = 0;
    // Lets a port or MMIO instruction whose exit was just handled complete, without executing anything more.
    virtual void finish_access() {}

    // Instructions executed so far; meaningful only with exact_instruction_counts.
    virtual u64 instructions() const = 0;

    // Adds the pages this engine's guest code has written since the last call to VMem's dirty account.
    virtual void collect_dirty() {}

    virtual EngineStatistics statistics() const = 0;
};

}  // namespace dualvm
