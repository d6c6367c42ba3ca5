#include "dualvm/devices/pit8254.h"

#include <utility>

#include "byte_ports.h"

namespace dualvm::devices {

namespace {

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;
constexpr Nanoseconds kRefresh = 15'085;       // port 61h bit 4 toggles with every refresh of a PC/AT's memory
__extension__ using Wide = unsigned __int128;  // nanoseconds times hertz

enum : u8 { kReadBack = 0xc0, kReadBackNoCount = 0x20, kReadBackNoStatus = 0x10, kAccessMask = 0x30 };
enum : u8 { kGate2 = 1, kWritable61 = 0x0f, kRefreshToggle = 0x10, kOutput2 = 0x20 };

}  // namespace

Pit8254::Pit8254(Clock& clock, IrqLine irq0)
    : clock_(clock), irq0_(std::move(irq0)), timer_(clock, [this] { fire(); }) {
    Pit8254::reset();
}

// Channel 2's gate is port 61h's; the other two are tied high. Until it is programmed OUT 0 is high.
void Pit8254::reset() {
    channels_ = {PitChannel(true), PitChannel(true), PitChannel(false)};
    port61_ = 0;
    timer_.disarm();
    irq0_.raise();
}

PitTick Pit8254::ticks() const {
    return static_cast<PitTick>(static_cast<Wide>(clock_.now()) * kHertz / kNanosecondsPerSecond);
}

// The first nanosecond at which ticks() is at least `tick`.
Nanoseconds Pit8254::time_of(PitTick tick) const {
    return static_cast<Nanoseconds>((static_cast<Wide>(tick) * kNanosecondsPerSecond + kHertz - 1) / kHertz);
}

// From the time on at which the channel has become what it is: the host's clock goes on meanwhile, and where the rise
// is past already, it still comes.
void Pit8254::schedule(PitTick since) {
    const PitTick rise = channels_[0].next_rise(since);
    if (rise == kNoTick) {
        timer_.disarm();
    } else {
        timer_.arm(time_of(rise));
    }
}

// A rising edge of OUT 0. However late it is noticed, it is one edge: those that were missed are lost, as on a CPU that
// did not listen; and the next is in the future, so that no rate can hold the host here, nor keep the guest from
// running.
void Pit8254::fire() {
    irq0_.lower();
    irq0_.raise();
    schedule(ticks());
    if (timer_.armed()) timer_.arm_again(timer_.deadline());
}

void Pit8254::write_control(PitTick now, u8 value) {
    if ((value & kReadBack) == kReadBack) {
        for (unsigned i = 0; i < channels_.size(); ++i) {
            if ((value & (2u << i)) == 0) continue;
            if ((value & kReadBackNoCount) == 0) channels_[i].latch_count(now);
            if ((value & kReadBackNoStatus) == 0) channels_[i].latch_status(now);
        }
        return;
    }
    PitChannel& channel = channels_[value >> 6];
    if ((value & kAccessMask) == 0) {
        channel.latch_count(now);
    } else {
        channel.write_control(now, value);
    }
}

u8 Pit8254::read_register(u64 offset) {
    if (offset == kPort61) {
        const bool refresh = (clock_.now() / kRefresh & 1) != 0;
        return static_cast<u8>(port61_ | (refresh ? kRefreshToggle : 0) |
                               (channels_[2].output(ticks()) ? kOutput2 : 0));
    }
    return offset >= channels_.size() ? 0xff : channels_[offset].read(ticks());  // the control word cannot be read
}

void Pit8254::write_register(u64 offset, u8 value) {
    if (offset == kPort61) {
        port61_ = value & kWritable61;
        channels_[2].set_gate(ticks(), (value & kGate2) != 0);
        return;
    }
    if (tick_due()) fire();  // before what is written now changes when the next one is
    const PitTick now = ticks();
    if (offset < channels_.size()) {
        channels_[offset].write(now, value);
    } else {
        write_control(now, value);
    }
    const bool programs_channel0 = (value & kReadBack) == 0 && (value & kAccessMask) != 0;
    if (offset == 0 || (offset == channels_.size() && programs_channel0)) {
        irq0_.set(channels_[0].output(now));
        schedule(now);
    }
}

u64 Pit8254::read(u64 offset, unsigned size) {
    return read_by_bytes(offset, size, [this](u64 at) { return read_register(at); });
}

void Pit8254::write(u64 offset, unsigned size, u64 value) {
    write_by_bytes(offset, size, value, [this](u64 at, u8 byte) { write_register(at, byte); });
}

void Pit8254::save(ArchiveWriter& out) const {
    out.tag("PIT ", 1);
    out.put(port61_);
    for (bool v : {irq0_.level(), tick_due()}) out.put(static_cast<u8>(v));
    for (const PitChannel& c : channels_) c.save(out, ticks());
}

void Pit8254::load(ArchiveReader& in) {
    in.expect("PIT ", 1);
    in.get(port61_);
    const bool level = in.get<u8>() != 0, due = in.get<u8>() != 0;
    const PitTick now = ticks();
    for (PitChannel& c : channels_) c.load(in, now);
    if (!in.ok()) {
        reset();
        return;
    }
    irq0_.set(level);
    schedule(now);
    if (due) timer_.arm(clock_.now());
}

}  // namespace dualvm::devices
