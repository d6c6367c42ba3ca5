#include "dualvm/devices/debug_ports.h"

namespace dualvm::devices {

void DebugExit::write(u64, unsigned, u64 value) {
    machine_.request({.kind = RequestKind::DebugExit, .debug_exit_value = static_cast<u8>(value)});
}

void DebugConsole::write(u64, unsigned size, u64 value) {
    if (!output_) return;
    for (unsigned i = 0; i < size; ++i) output_(static_cast<u8>(value >> (8 * i)));
}

void PostCode::save(ArchiveWriter& out) const {
    out.tag("POST", 1);
    out.put(last_);
}

void PostCode::load(ArchiveReader& in) {
    if (in.expect("POST", 1)) in.get(last_);
}

}  // namespace dualvm::devices
