#include "exits.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm::kvm {

namespace {

Exit failure(std::string text) {
    Exit exit;
    exit.kind = ExitKind::Failure;
    exit.text = std::move(text);
    return exit;
}

Exit port_exit(kvm_run& run) {
    if (run.io.size != 1 && run.io.size != 2 && run.io.size != 4) return failure("a port access of unknown size");
    Exit exit;
    exit.kind = run.io.direction == KVM_EXIT_IO_OUT ? ExitKind::PortWrite : ExitKind::PortRead;
    exit.address = run.io.port;
    exit.size = run.io.size;
    exit.count = run.io.count;
    exit.data = reinterpret_cast<u8*>(&run) + run.io.data_offset;
    return exit;
}

Exit mmio_exit(kvm_run& run) {
    if (run.mmio.len == 0 || run.mmio.len > sizeof run.mmio.data) return failure("an MMIO access of unknown size");
    Exit exit;
    exit.kind = run.mmio.is_write != 0 ? ExitKind::MmioWrite : ExitKind::MmioRead;
    exit.address = run.mmio.phys_addr;
    exit.size = static_cast<u8>(run.mmio.len);
    exit.data = run.mmio.data;
    return exit;
}

Exit internal_error(const kvm_run& run) {
    if (!is_emulation_failure(run)) return failure(fmt::format("KVM internal error {}", run.internal.suberror));
    Exit exit = failure("KVM cannot emulate this instruction");
    const auto& e = run.emulation_failure;
    // ndata counts the words behind it: flags, then the instruction (api.rst, "KVM_EXIT_INTERNAL_ERROR").
    if (e.ndata >= 3 && (e.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0) {
        exit.byte_count = std::min<u8>(e.insn_size, 15);
        std::copy_n(e.insn_bytes, exit.byte_count, exit.bytes.begin());
    }
    return exit;
}

Exit plain(ExitKind kind) {
    Exit exit;
    exit.kind = kind;
    return exit;
}

}  // namespace

bool is_emulation_failure(const kvm_run& run) {
    return run.exit_reason == KVM_EXIT_INTERNAL_ERROR && run.internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
}

Exit translate_exit(kvm_run& run) {
    switch (run.exit_reason) {
        case KVM_EXIT_IO: return port_exit(run);
        case KVM_EXIT_MMIO: return mmio_exit(run);
        case KVM_EXIT_HLT: return plain(ExitKind::Halt);
        case KVM_EXIT_SHUTDOWN: return plain(ExitKind::Shutdown);
        case KVM_EXIT_IRQ_WINDOW_OPEN:
        case KVM_EXIT_SET_TPR:  // CR8 went down: an interrupt that it held back may be possible now
            return plain(ExitKind::InterruptWindow);
        case KVM_EXIT_INTR: return plain(ExitKind::Kicked);
        case KVM_EXIT_DEBUG: {
            constexpr u64 kSingleStepBit = u64{1} << 14;  // DR6.BS
            Exit exit = plain((run.debug.arch.dr6 & kSingleStepBit) != 0 ? ExitKind::SingleStep : ExitKind::Breakpoint);
            exit.rip = run.debug.arch.pc;
            return exit;
        }
        case KVM_EXIT_INTERNAL_ERROR: return internal_error(run);
        case KVM_EXIT_FAIL_ENTRY:
            return failure(fmt::format("the CPU refused to enter the guest, hardware reason {:#x}",
                                       run.fail_entry.hardware_entry_failure_reason));
        case KVM_EXIT_SYSTEM_EVENT: return failure(fmt::format("KVM system event {}", run.system_event.type));
        default: return failure(fmt::format("KVM exit reason {}, which dualvm does not know", run.exit_reason));
    }
}

}  // namespace dualvm::kvm
