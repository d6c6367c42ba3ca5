// 8254 programmable interval timer (Intel 8254 data sheet) with the PC's port 61h: channel 0 is IRQ 0, channel 2 the
// speaker. Everything is worked out from the clock when asked, so there is no drift and nothing ticks.
//
// IRQ 0 rises exactly when OUT does; where OUT falls by itself, the line follows only as it rises again. The controller
// looks at the rising edge alone, and a timer for the falling ones would stop the engine twice as often.
#pragma once

#include <array>

#include "dualvm/clock.h"
#include "dualvm/devices/pit_channel.h"
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
    PitTick ticks() const;
    Nanoseconds time_of(PitTick tick) const;
    u8 read_register(u64 offset);
    void write_register(u64 offset, u8 value);
    void write_control(PitTick now, u8 value);
    // A rising edge has come that fire() has not been told of yet.
    bool tick_due() const { return timer_.deadline() <= clock_.now(); }
    void schedule(PitTick since);
    void fire();

    Clock& clock_;
    IrqLine irq0_;
    Timer timer_;  // channel 0's next rising edge
    std::array<PitChannel, 3> channels_;
    u8 port61_ = 0;
};

}  // namespace dualvm::devices
