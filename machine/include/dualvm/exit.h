// Exit: why an engine came back from guest code, as a value.
#pragma once

#include <array>

#include "dualvm/types.h"

namespace dualvm {

enum class ExitKind : u8 {
    PortRead,         // IN, INS: the machine fills `data`
    PortWrite,        // OUT, OUTS
    MmioRead,         // a load from where there is no RAM: the machine fills `data`
    MmioWrite,        // a store to where there is no RAM, or to ROM
    Halt,             // HLT
    Shutdown,         // triple fault
    Breakpoint,       // a breakpoint of the machine's user, not of the guest
    SingleStep,       // one instruction was executed, as the budget asked
    BudgetUsed,       // instructions or time of the budget are used up
    Kicked,           // kick()
    Attention,        // a device wants the run loop (stop request, earlier timer)
    InterruptWindow,  // the guest can take an interrupt now (hardware engines)
    UserMode,         // 64-bit code at ring 3 comes next (Until::Program)
    KernelMode,       // it does no longer (Until::Kernel)
    Failure,          // the engine could not execute an instruction
};
inline constexpr std::size_t kExitKinds = static_cast<std::size_t>(ExitKind::Failure) + 1;
const char* to_string(ExitKind kind);  // "port-read", "mmio-write", "halt" ...

struct Exit {
    ExitKind kind = ExitKind::BudgetUsed;

    // PortRead, PortWrite, MmioRead, MmioWrite: `count` accesses of `size` bytes (1, 2, 4, 8) at one address, their
    // values one after the other at `data`. The pointer is the engine's and valid until its next run().
    u64 address = 0;
    u8 size = 0;
    u32 count = 1;
    u8* data = nullptr;

    // Failure: where, what bytes (as many as could be read), the engine's own word for what happened, and what the run
    // ends with: EngineUnavailable where it was no instruction's fault but the host had nothing to run it with.
    u64 rip = 0;
    std::array<u8, 15> bytes{};
    u8 byte_count = 0;
    std::string text{};
    ExitStatus status = ExitStatus::EngineFailure;
};

}  // namespace dualvm
