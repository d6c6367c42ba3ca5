// MC146818 real-time clock with the PC's CMOS memory (Motorola MC146818 data sheet; PC/AT technical reference): ports
// 70h (index) and 71h (data), IRQ 8.
//
// The time registers hold what was written to them, and are advanced by the seconds that have passed when somebody
// looks: nothing ticks unless an interrupt is enabled. Time and memory are on a battery, a reset does not touch them.
#pragma once

#include <array>
#include <ctime>

#include "dualvm/clock.h"
#include "dualvm/irq_line.h"
#include "dualvm/vio.h"

namespace dualvm::devices {

class RtcMc146818 final : public Device {
public:
    // `start_time` is the time of day now; `memory_bytes` goes into the CMOS memory as a PC's BIOS puts it.
    RtcMc146818(Clock& clock, IrqLine irq8, std::time_t start_time, u64 memory_bytes);

    const char* name() const override { return "rtc"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

    // The kinds of floppy drives A: and B: as the PC/AT's set-up program wrote them; 0 for none.
    void set_floppy_drives(const std::array<u8, 2>& kinds);
    // Where SeaBIOS looks for what to boot from, first to last: numbers of kinds of drives, 0 for none.
    void set_boot_order(const std::array<u8, 3>& kinds);

    // Port 70h bit 7: of the chipset's NMIs, of which there are none. The local APIC's do not ask it.
    bool nmi_masked() const { return (index_ & 0x80) != 0; }

private:
    u8 read_register(u8 index);
    void write_register(u8 index, u8 value);
    void write_a(u8 value);
    void write_b(u8 value);
    bool divider_runs() const;
    bool updates() const;
    u64 seconds() const;
    u64 periods() const;
    Nanoseconds period() const;
    bool update_in_progress() const;
    void catch_up();
    void advance_time(u64 seconds);
    bool alarm_between(int second_of_day, u64 seconds) const;
    bool alarm_field_matches(u8 index, int value) const;
    std::tm time() const;
    void set_time(const std::tm& t);
    u8 encode(int value) const;
    int decode(u8 value) const;
    u8 encode_hour(int hour) const;
    int decode_hour(u8 value) const;
    void schedule();
    void update_interrupt();
    void fill_memory_size(u64 memory_bytes);
    void update_checksum();

    Clock& clock_;
    IrqLine irq_;
    Timer timer_;
    std::array<u8, 128> cmos_{};
    u8 index_ = 0;
    // The divider chain counts from here; whole seconds since then are updates. May be "before" the clock's 0: only
    // the difference to now() counts, modulo 2^64.
    Nanoseconds origin_ = 0;
    u64 seen_seconds_ = 0, seen_periods_ = 0;  // up to where registers and flags have been brought
};

}  // namespace dualvm::devices
