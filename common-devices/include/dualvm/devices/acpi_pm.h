// ACPI's fixed hardware as the PIIX4's power management block has it (Intel 82371AB data sheet, "Power Management I/O
// Space"; ACPI specification 6.3, 4.8): PM1 event and control registers, the PM timer, general-purpose events. There is
// no legacy mode to leave, so SCI_EN is always set and no SMI command exists.
#pragma once

#include "dualvm/irq_line.h"
#include "dualvm/machine.h"

namespace dualvm::devices {

class AcpiPm final : public Device {
public:
    // Offsets of the blocks; the PIIX4's order.
    static constexpr u16 kEvent = 0, kControl = 4, kTimer = 8, kGpe = 0xc, kGpeSize = 4, kSize = 0x40;
    static constexpr u64 kTimerHertz = 3579545;
    static constexpr unsigned kTimerBits = 24;
    static constexpr u8 kSoftOff = 0;  // SLP_TYP of S5

    AcpiPm(Machine& machine, IrqLine sci);

    const char* name() const override { return "acpi pm"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    u64 ticks() const;
    // How often the timer's highest bit has changed; each time is an event.
    u64 carries() const { return ticks() >> (kTimerBits - 1); }
    u16 status() const;
    u8 read_byte(u64 offset) const;
    void write_byte(u64 offset, u8 value);
    void update();
    void schedule(u16 events);

    Machine& machine_;
    IrqLine sci_;
    Timer timer_;             // the next carry, while its event is enabled and not yet there
    Nanoseconds origin_ = 0;  // when the timer was 0
    u64 carries_seen_ = 0;    // as of the last time that TMR_STS was cleared
    u16 enable_ = 0, control_ = 0;
    u16 gpe_enable_ = 0;
};

}  // namespace dualvm::devices
