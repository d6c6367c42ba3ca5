#include "dualvm/devices/coprocessor_error.h"

namespace dualvm::devices {

CoprocessorError::CoprocessorError(Machine& machine, IrqLine irq13) : machine_(machine), irq_(std::move(irq13)) {
    machine_.connect_fpu_error([this] { irq_.raise(); });
}

// Whatever is written: the interrupt is heard. Until the error is cleared the CPU does not wait for it again, so that
// its handler may use the unit.
void CoprocessorError::write(u64, unsigned, u64) {
    if (!irq_.level()) return;
    machine_.ignore_fpu_error(true);
    irq_.lower();
}

void CoprocessorError::save(ArchiveWriter& out) const {
    out.tag("FERR", 1);
    out.put(static_cast<u8>(irq_.level()));
    out.put(static_cast<u8>(machine_.ignores_fpu_error()));
}

void CoprocessorError::load(ArchiveReader& in) {
    in.expect("FERR", 1);
    const bool level = in.get<u8>() != 0, ignored = in.get<u8>() != 0;
    if (!in.ok()) {
        reset();
        return;
    }
    irq_.set(level);
    machine_.ignore_fpu_error(ignored);
}

}  // namespace dualvm::devices
