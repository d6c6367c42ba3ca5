// 8254 programmable interval timer (Intel 8254 data sheet) with the PC's port 61h: channel 0 is IRQ 0, channel 2 the
// speaker. Counters are worked out from the clock when asked, so there is no drift and nothing ticks.
#pragma once

#include <array>
#include <memory>

#include "dualvm/clock.h"
#include "dualvm/irq_line.h"
#include "dualvm/vio.h"

namespace dualvm::devices {

class Pit8254 final : public Device {
public:
    static constexpr u64 kHertz = 1193182;
    // Offsets: 0-3 are ports 40h-43h, 4 is port 61h.
    static constexpr u64 kPort61 = 4;

    Pit8254(Clock& clock, IrqLine irq0);

    const char* name() const override { return "pit8254"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    struct Channel {
        u8 mode = 3, access = 3;  // access: 1 low byte, 2 high byte, 3 low then high
        bool bcd = false, gate = true;
        bool loaded = false;  // a count has been written since the mode was
        bool null_count = true;
        u32 count = 0x10000;  // what the counter runs with; 0 is written for 10000h (or 10^4)
        u64 start = 0;        // clock tick at which it began to
        u64 stopped_at = 0;   // ticks already counted when the gate went low
        u8 low_byte = 0;
        bool write_high_next = false, read_high_next = false;
        bool count_latched = false, status_latched = false;
        u16 latch = 0;
        u8 status = 0;
    };

    u64 ticks() const;
    Nanoseconds time_of(u64 tick) const;
    u64 elapsed(const Channel& c) const;
    bool output(const Channel& c) const;
    u16 current_count(const Channel& c) const;
    void write_control(u8 value);
    void write_count(unsigned index, u8 value);
    u8 read_count(Channel& c);
    void set_gate(Channel& c, bool gate);
    void start(unsigned index, u32 count);
    void schedule();
    void fire();

    Clock& clock_;
    IrqLine irq0_;
    Timer timer_;
    std::array<Channel, 3> channels_{};
    u8 port61_ = 0;
};

}  // namespace dualvm::devices
