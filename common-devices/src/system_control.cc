#include "dualvm/devices/system_control.h"

namespace dualvm::devices {

namespace {

constexpr unsigned kFastReset = 1, kA20 = 2;

}  // namespace

u64 SystemControlPort::read(u64, unsigned) {
    return static_cast<u64>(value_ | (machine_.vmem().a20_open() ? kA20 : 0u));
}

void SystemControlPort::write(u64, unsigned, u64 value) {
    value_ = static_cast<u8>(value & ~(kA20 | kFastReset));
    machine_.vmem().set_a20((value & kA20) != 0);
    if (value & kFastReset) machine_.request({.kind = RequestKind::Reset});
}

void SystemControlPort::save(ArchiveWriter& out) const {
    out.tag("P92 ", 1);
    out.put(value_);
    out.put(static_cast<u8>(machine_.vmem().a20_open()));
}

void SystemControlPort::load(ArchiveReader& in) {
    in.expect("P92 ", 1);
    in.get(value_);
    const bool open = in.get<u8>() != 0;
    if (in.ok()) {
        machine_.vmem().set_a20(open);
    } else {
        reset();
    }
}

}  // namespace dualvm::devices
