#include "dualvm/exit.h"

namespace dualvm {

const char* to_string(ExitKind kind) {
    switch (kind) {
        case ExitKind::PortRead: return "port-read";
        case ExitKind::PortWrite: return "port-write";
        case ExitKind::MmioRead: return "mmio-read";
        case ExitKind::MmioWrite: return "mmio-write";
        case ExitKind::Halt: return "halt";
        case ExitKind::Shutdown: return "shutdown";
        case ExitKind::Breakpoint: return "breakpoint";
        case ExitKind::SingleStep: return "single-step";
        case ExitKind::BudgetUsed: return "budget-used";
        case ExitKind::Kicked: return "kicked";
        case ExitKind::Attention: return "attention";
        case ExitKind::InterruptWindow: return "interrupt-window";
        case ExitKind::UserMode: return "user-mode";
        case ExitKind::KernelMode: return "kernel-mode";
        case ExitKind::Failure: return "failure";
    }
    return "?";
}

}  // namespace dualvm
