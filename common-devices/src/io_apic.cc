#include "dualvm/devices/io_apic.h"

#include <utility>

namespace dualvm::devices {

namespace {

// The page's own registers.
enum : u64 { kSelect = 0, kWindow = 0x10, kEndOfInterrupt = 0x40 };
// Registers behind the window.
enum : u8 { kId = 0, kVersion = 1, kArbitration = 2, kFirstEntry = 0x10 };
constexpr u32 kVersionNumber = 0x20;  // with an EOI register

// A redirection entry ("IOREDTBL"). Wires here say "asserted", not "high": polarity is kept and makes no difference.
constexpr u64 kRemoteIrr = 1u << 14, kLevel = 1u << 15, kMasked = 1u << 16, kLogical = 1u << 11;
constexpr u32 kLowWritable = 0x1afff;
constexpr u64 kAfterReset = kMasked;

}  // namespace

IoApic::IoApic(std::function<bool(const ApicMessage&)> send) : send_(std::move(send)) { IoApic::reset(); }

void IoApic::reset() {
    entries_.fill(kAfterReset);
    select_ = id_ = 0;
}

IrqLine IoApic::input(unsigned number) {
    return IrqLine([this, number](bool level) { set_input(number, level); });
}

// An edge that comes while the entry is masked is lost; a level is looked at again when it is unmasked.
void IoApic::set_input(unsigned number, bool level) {
    const u32 bit = 1u << number;
    const bool rises = level && (asserted_ & bit) == 0;
    asserted_ = level ? asserted_ | bit : asserted_ & ~bit;
    u64& entry = entries_[number];
    if ((entry & kLevel) != 0) {
        send_if_asserted(number);
    } else if (rises && (entry & kMasked) == 0) {
        send(entry);
    }
}

void IoApic::send(u64& entry) {
    const bool level = (entry & kLevel) != 0;
    const bool taken = send_({.destination = static_cast<u8>(entry >> 56),
                              .logical = (entry & kLogical) != 0,
                              .delivery_mode = static_cast<u8>(entry >> 8 & 7),
                              .level_triggered = level,
                              .vector = static_cast<u8>(entry)});
    if (taken && level) entry |= kRemoteIrr;
}

// A level is sent once, and again after its end if it is still there.
void IoApic::send_if_asserted(unsigned number) {
    u64& entry = entries_[number];
    const bool asserted = (asserted_ >> number & 1) != 0;
    if (asserted && (entry & (kLevel | kMasked | kRemoteIrr)) == kLevel) send(entry);
}

void IoApic::end_of_interrupt(u8 vector) {
    for (unsigned i = 0; i < kInputs; ++i) {
        u64& entry = entries_[i];
        if ((entry & kRemoteIrr) == 0 || static_cast<u8>(entry) != vector) continue;
        entry &= ~kRemoteIrr;
        send_if_asserted(i);
    }
}

u32 IoApic::read_register() const {
    switch (select_) {
        case kId:
        case kArbitration: return static_cast<u32>(id_) << 24;
        case kVersion: return kVersionNumber | (kInputs - 1) << 16;
        default: break;
    }
    if (select_ < kFirstEntry || select_ >= kFirstEntry + 2 * kInputs) return 0;
    const u64 entry = entries_[(select_ - kFirstEntry) / 2];
    return static_cast<u32>((select_ & 1) != 0 ? entry >> 32 : entry);
}

void IoApic::write_register(u32 value) {
    if (select_ == kId) id_ = static_cast<u8>(value >> 24 & 0xf);
    if (select_ < kFirstEntry || select_ >= kFirstEntry + 2 * kInputs) return;
    const unsigned number = (select_ - kFirstEntry) / 2u;
    u64& entry = entries_[number];
    if ((select_ & 1) != 0) {
        entry = static_cast<u32>(entry) | u64{value & 0xff000000} << 32;
        return;
    }
    entry = (entry & ~u64{kLowWritable}) | (value & kLowWritable);
    // Made edge-triggered, it has no interrupt to wait for: before there was an EOI register, this was the way to end
    // one.
    if ((entry & kLevel) == 0) entry &= ~kRemoteIrr;
    send_if_asserted(number);
}

u64 IoApic::read(u64 offset, unsigned) {
    if (offset == kSelect) return select_;
    return offset == kWindow ? read_register() : 0;
}

void IoApic::write(u64 offset, unsigned, u64 value) {
    switch (offset) {
        case kSelect: select_ = static_cast<u8>(value); break;
        case kWindow: write_register(static_cast<u32>(value)); break;
        case kEndOfInterrupt: end_of_interrupt(static_cast<u8>(value)); break;
        default: break;
    }
}

void IoApic::save(ArchiveWriter& out) const {
    out.tag("IOAP", 1);
    for (u64 entry : entries_) out.put(entry);
    out.put(asserted_);
    out.put(select_);
    out.put(id_);
}

void IoApic::load(ArchiveReader& in) {
    in.expect("IOAP", 1);
    for (u64& entry : entries_) in.get(entry);
    in.get(asserted_);
    in.get(select_);
    in.get(id_);
    if (!in.ok()) {
        asserted_ = 0;
        reset();
    }
}

}  // namespace dualvm::devices
