// MC146818 real-time clock with the PC's CMOS memory (Motorola MC146818 data sheet; PC/AT technical reference): ports
// 70h (index) and 71h (data), IRQ 8.
#pragma once

#include <array>
#include <ctime>

#include "dualvm/clock.h"
#include "dualvm/irq_line.h"
#include "dualvm/vio.h"

namespace dualvm::devices {

class RtcMc146818 final : public Device {
public:
    // `start_time` is the time of day when the clock reads 0; `memory_bytes` goes into the CMOS as a PC's BIOS puts it.
    RtcMc146818(Clock& clock, IrqLine irq8, std::time_t start_time, u64 memory_bytes);

    const char* name() const override { return "rtc"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    u8 read_register(u8 index);
    void write_register(u8 index, u8 value);
    std::tm now() const;
    void set_time_field(u8 index, u8 value);
    u8 encode(int value) const;
    int decode(u8 value) const;
    bool update_in_progress() const;
    Nanoseconds period() const;
    void schedule();
    void fire();
    void raise(u8 flags);
    void fill_memory_size();

    Clock& clock_;
    IrqLine irq_;
    Timer timer_;
    std::time_t start_time_;
    i64 offset_seconds_ = 0;  // what the guest has set the time forward by
    u64 memory_bytes_;
    std::array<u8, 128> cmos_{};
    u8 index_ = 0;
    Nanoseconds next_periodic_ = kNever, next_second_ = kNever;
};

}  // namespace dualvm::devices
