#include "dualvm/devices/ide_channel.h"

#include <algorithm>
#include <cstring>

namespace dualvm::devices {

namespace {

// Device control register (ATA/ATAPI-6, 7.8).
enum : u8 { kNoInterrupt = 2, kSoftReset = 4, kHighOrderByte = 0x80 };
constexpr u8 kDiagnostic = 0x90;
// Nothing drives the wires of a cable without drives. With one, it holds them low for the other that is not there.
constexpr u8 kFloating = 0xff, kAbsent = 0;

}  // namespace

u8 IdeChannel::alternate_status() const {
    if (empty()) return kFloating;
    if (selected() == nullptr) return kAbsent;
    return (control_ & kSoftReset) != 0 ? u8{ata::kBusy} : selected()->status();
}

u8 IdeChannel::read_byte(unsigned reg) {
    if (reg == ata::kStatus) {
        const u8 status = alternate_status();
        if (IdeDrive* drive = selected()) drive->clear_interrupt();
        update_interrupt();
        return status;
    }
    if (empty()) return kFloating;
    if (selected() == nullptr) return kAbsent;
    return selected()->read_register(reg, (control_ & kHighOrderByte) != 0);
}

// Both drives see every write; the command is for the selected one, but for diagnostics, which both run.
void IdeChannel::write_byte(unsigned reg, u8 value) {
    if ((control_ & kSoftReset) != 0) return;
    control_ &= static_cast<u8>(~kHighOrderByte);  // "a write to any command block register shall clear HOB"
    if (reg == ata::kCommand) {
        // A request that nobody has looked at goes, so that the command's own is an edge (ATA/ATAPI-6, 5.2.9, "INTRQ").
        if (selected() != nullptr) selected()->clear_interrupt();
        update_interrupt();
        if (value == kDiagnostic) {
            selected_ = 0;
            for (auto& drive : drives_) {
                if (drive != nullptr) drive->execute(value);
            }
            // Device 0 speaks for both (ATA/ATAPI-6, 8.9).
            if (drives_[0] != nullptr && drives_[1] != nullptr) drives_[1]->clear_interrupt();
        } else if (selected() != nullptr) {
            selected()->execute(value);
        }
        update_interrupt();
        return;
    }
    if (reg == ata::kDevice) selected_ = (value & ata::kSecondDevice) != 0 ? 1 : 0;
    for (auto& drive : drives_) {
        if (drive != nullptr) drive->write_register(reg, value);
    }
    update_interrupt();  // only the selected drive drives the wire
}

// 16 bits wide; the controller makes two accesses of one with 32.
u64 IdeChannel::read_data_register(unsigned size) {
    IdeDrive* drive = selected();
    if (drive == nullptr) return empty() ? ~u64{0} : 0;
    if (drive->transfer() != IdeDrive::Transfer::PioIn) return 0;
    u64 value = 0;
    const auto window = drive->window();
    const std::size_t bytes = std::min<std::size_t>(std::max(size, 2u), window.size());
    std::memcpy(&value, window.data(), bytes);
    drive->moved(bytes);
    update_interrupt();
    return value;
}

void IdeChannel::write_data_register(unsigned size, u64 value) {
    IdeDrive* drive = selected();
    if (drive == nullptr || drive->transfer() != IdeDrive::Transfer::PioOut) return;
    const auto window = drive->window();
    const std::size_t bytes = std::min<std::size_t>(std::max(size, 2u), window.size());
    std::memcpy(window.data(), &value, bytes);
    drive->moved(bytes);
    update_interrupt();
}

u64 IdeChannel::read(unsigned reg, unsigned size) {
    if (reg == ata::kData) return read_data_register(size);
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{read_byte(reg + i)} << (8 * i);
    return value;
}

void IdeChannel::write(unsigned reg, unsigned size, u64 value) {
    if (reg == ata::kData) return write_data_register(size, value);
    for (unsigned i = 0; i < size; ++i) write_byte(reg + i, static_cast<u8>(value >> (8 * i)));
}

void IdeChannel::write_control(u8 value) {
    const bool was = (control_ & kSoftReset) != 0, is = (value & kSoftReset) != 0;
    control_ = value;
    if (is && !was) {
        for (auto& drive : drives_) {
            if (drive != nullptr) drive->reset_drive(false);
        }
        selected_ = 0;
    }
    update_interrupt();
}

// With nIEN set the drive lets go of the wire, and the bus master does not see a request either.
bool IdeChannel::interrupt_level() const {
    return selected() != nullptr && selected()->interrupt() && (control_ & kNoInterrupt) == 0;
}

void IdeChannel::update_interrupt() {
    const bool requested = interrupt_level();
    if (requested && !requested_) interrupt_seen_ = true;
    requested_ = requested;
    line_.set(requested);
}

void IdeChannel::reset() {
    selected_ = 0;
    control_ = 0;
    for (auto& drive : drives_) {
        if (drive != nullptr) drive->reset_drive(true);
    }
    update_interrupt();
    requested_ = interrupt_seen_ = false;
}

void IdeChannel::save(ArchiveWriter& out) const {
    out.put(static_cast<u8>(selected_));
    out.put(control_);
    out.put(static_cast<u8>(requested_));
    out.put(static_cast<u8>(interrupt_seen_));
    for (const auto& drive : drives_) {
        out.put(static_cast<u8>(drive != nullptr));
        if (drive != nullptr) drive->save(out);
    }
}

void IdeChannel::load(ArchiveReader& in) {
    selected_ = in.get<u8>() & 1;
    in.get(control_);
    requested_ = in.get<u8>() != 0;
    interrupt_seen_ = in.get<u8>() != 0;
    for (const auto& drive : drives_) {
        const bool there = in.get<u8>() != 0;
        if (there != (drive != nullptr)) in.set_bad();
        if (there && in.ok()) drive->load(in);
    }
    if (!in.ok()) return reset();
    line_.set(interrupt_level());
}

}  // namespace dualvm::devices
