#include "dualvm/devices/pci_config.h"

namespace dualvm::devices {

namespace {

enum : u64 { kAddress = 0, kResetControl = 1 };  // offsets from CF8h
enum : u8 { kResetCpu = 4, kResetWritable = 0xe };

}  // namespace

void PciConfigurationPorts::reset() {
    address_ = 0;
    reset_control_ = 0;
}

u64 PciConfigurationPorts::read(u64 offset, unsigned size) {
    if (offset == kAddress && size == 4) return address_;
    if (offset == kResetControl && size == 1) return reset_control_;
    return ~u64{0};  // no device answers: master abort
}

void PciConfigurationPorts::write(u64 offset, unsigned size, u64 value) {
    if (offset == kAddress && size == 4) {
        address_ = static_cast<u32>(value);
    } else if (offset == kResetControl && size == 1) {
        const bool rises = (value & kResetCpu) != 0 && (reset_control_ & kResetCpu) == 0;
        reset_control_ = static_cast<u8>(value & kResetWritable);
        if (rises) machine_.request({.kind = RequestKind::Reset});
    }
}

void PciConfigurationPorts::save(ArchiveWriter& out) const {
    out.tag("PCIC", 1);
    out.put(address_);
    out.put(reset_control_);
}

void PciConfigurationPorts::load(ArchiveReader& in) {
    in.expect("PCIC", 1);
    in.get(address_);
    in.get(reset_control_);
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices
