// One counter of an 8254 (Intel 8254 data sheet, order number 231164), as a function of the tick that is asked about:
// its OUT pin, its count and the next rising edge of OUT are worked out, nothing is counted down.
#pragma once

#include "dualvm/archive.h"
#include "dualvm/types.h"

namespace dualvm::devices {

// CLK pulses since the machine was started. Differences are taken modulo 2^64.
using PitTick = u64;
inline constexpr PitTick kNoTick = ~u64{0};

class PitChannel {
public:
    explicit PitChannel(bool gate = true) : gate_(gate) {}

    // What the CPU does, at tick `now`.
    void write_control(PitTick now, u8 control);  // access, mode and BCD bits of a control word
    void write(PitTick now, u8 byte);
    u8 read(PitTick now);
    void latch_count(PitTick now);
    void latch_status(PitTick now);

    void set_gate(PitTick now, bool gate);

    bool output(PitTick now) const;
    u16 count(PitTick now) const;
    // The next tick after `now` at which OUT goes high; kNoTick if it will not by itself.
    PitTick next_rise(PitTick now) const;

    void save(ArchiveWriter& out, PitTick now) const;
    void load(ArchiveReader& in, PitTick now);

private:
    // How far the counting element has come. The count register is transferred to it by the CLK pulse after a write or
    // a trigger, which is `start`.
    struct Sequence {
        PitTick start = 0;
        u32 count = 0x10000;
    };

    bool periodic() const { return mode_ == 2 || mode_ == 3; }
    bool triggered() const { return mode_ == 1 || mode_ == 5; }
    u32 modulus() const { return bcd_ ? 10000 : 0x10000; }
    Sequence sequence(PitTick now) const;  // the one that runs at `now`, a reload that is due included
    u64 elapsed(PitTick now, const Sequence& s) const;
    bool output_of(PitTick now, const Sequence& s) const;
    PitTick rise_of(PitTick now, const Sequence& s) const;
    bool null_count(PitTick now) const;
    void settle(PitTick now);
    void load_count(PitTick now, u32 written);
    void begin(PitTick now);
    void stop(PitTick now);

    u8 mode_ = 3, access_ = 3;  // access: 1 low byte, 2 high byte, 3 low then high
    bool bcd_ = false, gate_ = true;

    bool running_ = false;            // a sequence was begun and not stopped by a control word
    bool has_count_ = false;          // the count register was written since the control word
    bool waits_for_trigger_ = false;  // and reaches the counting element with the next rising gate
    u32 reload_ = 0x10000;            // the count register; 0 was written for 10000h (or 10^4)
    Sequence current_;
    bool level_before_ = true;     // OUT until current_.start
    PitTick reload_at_ = kNoTick;  // modes 2 and 3: when a new count takes over from the one that runs
    u64 held_ = 0;                 // ticks counted when the gate went low
    u16 frozen_ = 0;               // what the counting element shows while nothing runs

    u8 low_byte_ = 0;
    bool high_next_on_write_ = false, high_next_on_read_ = false;
    bool count_latched_ = false, status_latched_ = false;
    u16 latch_ = 0;
    u8 status_ = 0;
};

}  // namespace dualvm::devices
