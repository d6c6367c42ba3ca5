#include "dualvm/devices/pci_config.h"

namespace dualvm::devices {

namespace {

enum : u64 { kAddress = 0, kResetControl = 1, kData = 4 };  // offsets from CF8h
enum : u8 { kResetCpu = 4, kResetWritable = 0xe };

// The address register: enable, bus, slot, function, dword.
constexpr u32 kEnable = 0x80000000, kAddressWritable = 0x80fffffc;
unsigned bus_of(u32 address) { return address >> 16 & 0xff; }
unsigned slot_of(u32 address) { return address >> 11 & 0x1f; }
unsigned function_of(u32 address) { return address >> 8 & 7; }

}  // namespace

void PciConfigurationPorts::reset() {
    address_ = 0;
    reset_control_ = 0;
    if (after_reset_) after_reset_();
}

PciFunction* PciConfigurationPorts::target() const {
    if ((address_ & kEnable) == 0 || bus_of(address_) != 0) return nullptr;
    return bus_->find(slot_of(address_), function_of(address_));
}

u64 PciConfigurationPorts::read(u64 offset, unsigned size) {
    if (offset == kAddress && size == 4) return address_;
    if (offset == kResetControl && size == 1) return reset_control_;
    const PciFunction* function = offset >= kData ? target() : nullptr;
    if (function == nullptr) return ~u64{0};  // no device answers: master abort
    return function->read_config(static_cast<u8>((address_ & 0xfc) + (offset - kData)), size);
}

void PciConfigurationPorts::write(u64 offset, unsigned size, u64 value) {
    if (offset == kAddress && size == 4) {
        address_ = static_cast<u32>(value) & kAddressWritable;
    } else if (offset == kResetControl && size == 1) {
        const bool rises = (value & kResetCpu) != 0 && (reset_control_ & kResetCpu) == 0;
        reset_control_ = static_cast<u8>(value & kResetWritable);
        if (rises) machine_.request({.kind = RequestKind::Reset});
    } else if (offset >= kData) {
        if (PciFunction* function = target()) {
            function->write_config(static_cast<u8>((address_ & 0xfc) + (offset - kData)), size,
                                   static_cast<u32>(value));
        }
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
    if (!in.ok()) {
        address_ = 0;
        reset_control_ = 0;
    }
}

}  // namespace dualvm::devices
