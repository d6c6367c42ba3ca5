#include "dualvm/devices/piix3_ide.h"

namespace dualvm::devices {

namespace {

constexpr PciIdentity kIdentity = {.vendor = 0x8086,
                                   .device = 0x7010,
                                   .class_code = 0x010180,  // legacy places for both channels; bus master
                                   .subsystem_vendor = 0x1af4,
                                   .subsystem = 0x1100};
// "IDETIM, IDE timing": bit 15 makes the channel answer.
constexpr u8 kTiming = 0x40;
constexpr u32 kDecode = 0x8000;
constexpr unsigned kBusMasterBar = 4;

}  // namespace

Piix3Ide::Piix3Ide(BusMemory memory, std::array<IrqLine, kChannels> interrupts, bool enabled)
    : PciFunction(kIdentity),
      parts_{{{IdeChannel(std::move(interrupts[0])), BusMaster(memory)},
              {IdeChannel(std::move(interrupts[1])), BusMaster(memory)}}} {
    const u32 timing = enabled ? kDecode : 0;
    define(pci::kCommand, 2, enabled ? pci::kDecodePorts : 0, pci::kDecodePorts | pci::kBusMaster);
    define(pci::kStatus, 2, 0x0280, 0x3800, 0x3800);
    define(kTiming, 4, timing << 16 | timing, 0xf3fff3ff);
    define(0x44, 1, 0, 0xff);  // SIDETIM
    add_bar(kBusMasterBar, {.kind = PciBar::Kind::Ports, .size = 16, .device = this, .device_offset = kBusMasters});
}

void Piix3Ide::attach(unsigned channel, unsigned number, std::unique_ptr<IdeDrive> drive) {
    parts_[channel].channel.attach(number, std::move(drive));
}

bool Piix3Ide::decodes(unsigned channel) const {
    const u32 timing = read_config(static_cast<u8>(kTiming + 2 * channel), 2);
    return (timing & kDecode) != 0 && (command() & pci::kDecodePorts) != 0;
}

// After anything that the guest has done to a channel or its bus master: data move, interrupts are noticed.
void Piix3Ide::settle(Part& part) {
    if ((command() & pci::kBusMaster) != 0) part.master.run(part.channel.selected());
    part.channel.update_interrupt();
    if (part.channel.take_interrupt()) part.master.drive_interrupted();
}

// Bus mastering may have been switched on behind a transfer that was started before.
void Piix3Ide::config_changed(unsigned, unsigned) {
    for (Part& part : parts_) settle(part);
}

u64 Piix3Ide::read(u64 offset, unsigned size) {
    if (offset >= kBusMasters) {
        u64 value = 0;
        for (unsigned i = 0; i < size; ++i) {
            const auto reg = static_cast<unsigned>(offset - kBusMasters + i);
            value |= u64{parts_[reg / BusMaster::kRegisters % kChannels].master.read(reg % BusMaster::kRegisters)}
                     << (8 * i);
        }
        return value;
    }
    const auto number = static_cast<unsigned>(offset / kChannelStride);
    if (!decodes(number)) return ~u64{0};
    Part& part = parts_[number];
    const auto reg = static_cast<unsigned>(offset % kChannelStride);
    if (reg >= kControl) return part.channel.alternate_status();
    const u64 value = part.channel.read(reg, size);
    settle(part);
    return value;
}

void Piix3Ide::write(u64 offset, unsigned size, u64 value) {
    if (offset >= kBusMasters) {
        for (unsigned i = 0; i < size; ++i) {
            const auto reg = static_cast<unsigned>(offset - kBusMasters + i);
            Part& part = parts_[reg / BusMaster::kRegisters % kChannels];
            part.master.write(reg % BusMaster::kRegisters, static_cast<u8>(value >> (8 * i)));
            settle(part);
        }
        return;
    }
    const auto number = static_cast<unsigned>(offset / kChannelStride);
    if (!decodes(number)) return;
    Part& part = parts_[number];
    const auto reg = static_cast<unsigned>(offset % kChannelStride);
    if (reg >= kControl) {
        part.channel.write_control(static_cast<u8>(value));
    } else {
        part.channel.write(reg, size, value);
    }
    settle(part);
}

void Piix3Ide::reset() {
    for (Part& part : parts_) {
        part.channel.reset();
        part.master.reset();
    }
    reset_config();
}

void Piix3Ide::save(ArchiveWriter& out) const {
    out.tag("PIDE", 2);
    for (const Part& part : parts_) {
        part.channel.save(out);
        part.master.save(out);
    }
    save_config(out);
}

void Piix3Ide::load(ArchiveReader& in) {
    in.expect("PIDE", 2);
    for (Part& part : parts_) {
        part.channel.load(in);
        part.master.load(in);
    }
    load_config(in);  // last: with a command register that lets it, a transfer goes on at once
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices
