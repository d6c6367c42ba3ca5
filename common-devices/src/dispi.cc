#include "dualvm/devices/dispi.h"

#include <algorithm>

namespace dualvm::devices {

namespace {
constexpr u16 kFirstId = 0xb0c0, kLastId = 0xb0c5;
constexpr unsigned kLargestBits = 32;
}  // namespace

void Dispi::reset() {
    registers_ = {};
    registers_[kId] = kLastId;
    index_ = 0;
    bank_offset_ = 0;
}

u16 Dispi::read(u16 index) const {
    if (index == kMemory) return static_cast<u16>(memory_size_ >> 16);
    if (index >= kRegisters) return 0;
    if ((registers_[kEnable] & kCapabilities) != 0) {
        if (index == kWidth) return kLargestWidth;
        if (index == kHeight) return kLargestHeight;
        if (index == kBits) return kLargestBits;
    }
    return registers_[index];
}

// There is no way to refuse a value: while a mode is shown, registers become the nearest that work, so that the screen
// lies within the memory.
void Dispi::correct() {
    if (!on()) return;
    auto& r = registers_;
    const auto known = {4, 8, 15, 16, 24, 32};
    if (std::find(known.begin(), known.end(), r[kBits]) == known.end()) r[kBits] = 8;
    const auto width = [](unsigned pixels) { return std::min(pixels & ~7u, kLargestWidth); };
    r[kWidth] = static_cast<u16>(std::max(width(r[kWidth]), 8u));
    r[kVirtualWidth] = std::max(static_cast<u16>(width(r[kVirtualWidth])), r[kWidth]);
    const u64 lines = memory_size_ / pitch();
    r[kHeight] = static_cast<u16>(std::clamp<u64>(r[kHeight], 1, std::min<u64>(lines, kLargestHeight)));
    r[kVirtualHeight] = static_cast<u16>(std::min<u64>(lines, 0xffff));
    r[kX] = static_cast<u16>(std::min<unsigned>(r[kX], kLargestWidth));
    r[kY] = static_cast<u16>(std::min<unsigned>(r[kY], kLargestHeight));
    const auto fits = [this] { return start() + u64{height()} * pitch() <= memory_size_; };
    if (!fits()) r[kY] = 0;
    if (!fits()) r[kX] = 0;
}

Dispi::Effect Dispi::write(u16 index, u16 value) {
    switch (index) {
        case kId:
            if (value >= kFirstId && value <= kLastId) registers_[kId] = value;
            return {};
        case kWidth:
        case kHeight:
        case kBits:
        case kVirtualWidth:
        case kX:
        case kY:
            registers_[index] = value;
            correct();
            return {.mode_changed = on()};
        case kBank: {
            // Of four planes, 64 KiB in the window are 256 KiB of memory.
            const u64 banks = (memory_size_ >> 16) / (bits() == 4 ? 4 : 1);
            registers_[kBank] = static_cast<u16>(value & (banks - 1));
            bank_offset_ = u32{registers_[kBank]} << 16;
            return {.other = true};
        }
        case kEnable: {
            const bool enters = (value & kOn) != 0 && !on();
            registers_[kEnable] = value;
            if (enters) {
                registers_[kVirtualWidth] = registers_[kX] = registers_[kY] = 0;
                correct();
            } else {
                bank_offset_ = 0;
            }
            return {.mode_changed = enters, .clear = enters && (value & kKeepMemory) == 0, .other = true};
        }
        default: return {};
    }
}

void Dispi::save(ArchiveWriter& out) const {
    out.put(index_);
    for (u16 value : registers_) out.put(value);
    out.put(bank_offset_);
}

void Dispi::load(ArchiveReader& in) {
    in.get(index_);
    for (u16& value : registers_) in.get(value);
    in.get(bank_offset_);
    if (bank_offset_ >= memory_size_) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    correct();
}

}  // namespace dualvm::devices
