#include "dualvm/devices/pit8254.h"

#include <utility>

namespace dualvm::devices {

namespace {

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;
__extension__ using Wide = unsigned __int128;  // nanoseconds times hertz

u32 from_bcd(u32 v) { return (v & 0xf) + 10 * ((v >> 4) & 0xf) + 100 * ((v >> 8) & 0xf) + 1000 * ((v >> 12) & 0xf); }
u16 to_bcd(u32 v) {
    return static_cast<u16>(v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12);
}

}  // namespace

Pit8254::Pit8254(Clock& clock, IrqLine irq0)
    : clock_(clock), irq0_(std::move(irq0)), timer_(clock, [this] { fire(); }) {
    Pit8254::reset();
}

void Pit8254::reset() {
    channels_ = {};
    channels_[2].gate = false;
    port61_ = 0;
    timer_.disarm();
    irq0_.lower();
}

u64 Pit8254::ticks() const {
    return static_cast<u64>(static_cast<Wide>(clock_.now()) * kHertz / kNanosecondsPerSecond);
}

// The first nanosecond at which ticks() is at least `tick`.
Nanoseconds Pit8254::time_of(u64 tick) const {
    return static_cast<Nanoseconds>((static_cast<Wide>(tick) * kNanosecondsPerSecond + kHertz - 1) / kHertz);
}

// Ticks counted since the count was loaded; a low gate holds the counter.
u64 Pit8254::elapsed(const Channel& c) const { return c.gate ? ticks() - c.start : c.stopped_at; }

// The OUT pin (data sheet, "Mode definitions").
bool Pit8254::output(const Channel& c) const {
    if (!c.loaded) return c.mode != 0;
    const u64 t = elapsed(c);
    switch (c.mode) {
        case 0:
        case 1: return t >= c.count;                     // low until terminal count
        case 2: return t % c.count != c.count - 1;       // low for one tick in each period
        case 3: return t % c.count < (c.count + 1) / 2;  // square wave
        default: return t != c.count;                    // 4, 5: a strobe of one tick
    }
}

u16 Pit8254::current_count(const Channel& c) const {
    const u64 t = c.loaded ? elapsed(c) : 0;
    u64 value = 0;
    switch (c.mode) {
        case 2: value = c.count - t % c.count; break;
        case 3: {  // counts down by two, twice in each period
            const u64 half = (c.count + 1) / 2, in_period = t % c.count;
            value = c.count - 2 * (in_period < half ? in_period : in_period - half);
            break;
        }
        default: value = c.count - t; break;  // counts on through 0
    }
    const u32 modulus = c.bcd ? 10000 : 0x10000;
    const auto wrapped = static_cast<u32>(((value % modulus) + modulus) % modulus);
    return c.bcd ? to_bcd(wrapped) : static_cast<u16>(wrapped);
}

void Pit8254::write_control(u8 value) {
    const unsigned select = value >> 6;
    if (select == 3) {  // read-back command
        for (unsigned i = 0; i < 3; ++i) {
            if ((value & (2u << i)) == 0) continue;
            Channel& c = channels_[i];
            if ((value & 0x20) == 0 && !c.count_latched) {
                c.latch = current_count(c);
                c.count_latched = true;
            }
            if ((value & 0x10) == 0 && !c.status_latched) {
                c.status = static_cast<u8>((output(c) ? 0x80 : 0) | (c.null_count ? 0x40 : 0) | c.access << 4 |
                                           c.mode << 1 | (c.bcd ? 1 : 0));
                c.status_latched = true;
            }
        }
        return;
    }
    Channel& c = channels_[select];
    const auto access = static_cast<u8>((value >> 4) & 3);
    if (access == 0) {  // counter latch command
        if (!c.count_latched) {
            c.latch = current_count(c);
            c.count_latched = true;
        }
        return;
    }
    c.access = access;
    c.mode = static_cast<u8>((value >> 1) & 7);
    if (c.mode > 5) c.mode = static_cast<u8>(c.mode & 3);  // 6 and 7 are 2 and 3
    c.bcd = (value & 1) != 0;
    c.loaded = false;
    c.null_count = true;
    c.write_high_next = c.read_high_next = c.count_latched = c.status_latched = false;
    if (select == 0) {
        timer_.disarm();
        irq0_.set(output(c));
    }
}

void Pit8254::start(unsigned index, u32 count) {
    Channel& c = channels_[index];
    if (c.bcd) count = from_bcd(count);
    if (count == 0) count = c.bcd ? 10000 : 0x10000;
    // A periodic count of 1 is not allowed by the data sheet; the shortest that is, is used instead.
    if ((c.mode == 2 || c.mode == 3) && count == 1) count = 2;
    c.count = count;
    c.start = ticks();
    c.stopped_at = 0;
    c.loaded = true;
    c.null_count = false;
    // Modes 1 and 5 wait for a rising gate; channels 0 and 1 have theirs tied high, so they never see one.
    if (c.mode == 1 || c.mode == 5) c.loaded = false;
    if (index == 0) schedule();
}

void Pit8254::write_count(unsigned index, u8 value) {
    Channel& c = channels_[index];
    switch (c.access) {
        case 1: start(index, value); break;
        case 2: start(index, u32{value} << 8); break;
        default:
            if (!c.write_high_next) {
                c.low_byte = value;
                if (c.mode == 0 && index == 0) timer_.disarm();  // the first byte stops the count
            } else {
                start(index, u32{value} << 8 | c.low_byte);
            }
            c.write_high_next = !c.write_high_next;
            break;
    }
}

u8 Pit8254::read_count(Channel& c) {
    if (c.status_latched) {
        c.status_latched = false;
        return c.status;
    }
    const u16 value = c.count_latched ? c.latch : current_count(c);
    bool high = c.access == 2;
    if (c.access == 3) {
        high = c.read_high_next;
        c.read_high_next = !c.read_high_next;
    }
    if (c.access != 3 || high) c.count_latched = false;
    return static_cast<u8>(high ? value >> 8 : value);
}

void Pit8254::set_gate(Channel& c, bool gate) {
    if (gate == c.gate) return;
    if (!gate) {
        c.stopped_at = elapsed(c);
        c.gate = false;
        return;
    }
    c.gate = true;
    const bool restarts = c.mode == 1 || c.mode == 2 || c.mode == 3 || c.mode == 5;
    if (restarts) {
        c.start = ticks();
        c.loaded = c.loaded || c.mode == 1 || c.mode == 5;
    } else {
        c.start = ticks() - c.stopped_at;
    }
}

// Sets IRQ 0 as OUT is now, and arms the timer for OUT's next rising edge.
void Pit8254::schedule() {
    const Channel& c = channels_[0];
    irq0_.set(output(c));
    if (!c.loaded) {
        timer_.disarm();
        return;
    }
    const u64 t = elapsed(c);
    if (c.mode == 2 || c.mode == 3) {
        timer_.arm(time_of(c.start + (t / c.count + 1) * c.count));
    } else if (t < c.count) {
        timer_.arm(time_of(c.start + c.count));
    } else {
        timer_.disarm();
    }
}

// A rising edge of OUT. However late it comes, it is one edge: what was missed is lost, as on a CPU that did not
// listen.
void Pit8254::fire() {
    irq0_.lower();
    irq0_.raise();
    schedule();
}

u64 Pit8254::read(u64 offset, unsigned) {
    if (offset == kPort61) {
        // Bit 4 toggles with every memory refresh, about 15 microseconds; bit 5 is channel 2's OUT.
        const bool refresh = (clock_.now() / 15'085 & 1) != 0;
        return static_cast<u64>((port61_ & 0xf) | (refresh ? 0x10 : 0) | (output(channels_[2]) ? 0x20 : 0));
    }
    return offset == 3 ? 0 : read_count(channels_[offset]);
}

void Pit8254::write(u64 offset, unsigned, u64 value) {
    const auto byte = static_cast<u8>(value);
    if (offset == kPort61) {
        port61_ = byte & 0xf;
        set_gate(channels_[2], (byte & 1) != 0);
    } else if (offset == 3) {
        write_control(byte);
    } else {
        write_count(static_cast<unsigned>(offset), byte);
    }
}

void Pit8254::save(ArchiveWriter& out) const {
    out.tag("PIT ", 1);
    out.put(port61_);
    for (const Channel& c : channels_) {
        for (u8 v : {c.mode, c.access, c.low_byte, c.status}) out.put(v);
        for (bool v : {c.bcd, c.gate, c.loaded, c.null_count, c.write_high_next, c.read_high_next, c.count_latched,
                       c.status_latched}) {
            out.put(static_cast<u8>(v));
        }
        out.put(c.count);
        out.put(c.start);
        out.put(c.stopped_at);
        out.put(c.latch);
    }
    out.put(timer_.deadline());
}

void Pit8254::load(ArchiveReader& in) {
    if (!in.expect("PIT ", 1)) return;
    in.get(port61_);
    for (Channel& c : channels_) {
        for (u8* v : {&c.mode, &c.access, &c.low_byte, &c.status}) in.get(*v);
        for (bool* v : {&c.bcd, &c.gate, &c.loaded, &c.null_count, &c.write_high_next, &c.read_high_next,
                        &c.count_latched, &c.status_latched}) {
            *v = in.get<u8>() != 0;
        }
        in.get(c.count);
        in.get(c.start);
        in.get(c.stopped_at);
        in.get(c.latch);
        if (c.mode > 5 || c.count == 0 || c.count > 0x10000 || c.access > 3 || c.access == 0) in.set_bad();
    }
    const auto deadline = in.get<Nanoseconds>();
    if (!in.ok()) {
        reset();
        return;
    }
    timer_.arm(deadline);
    irq0_.set(output(channels_[0]));
}

}  // namespace dualvm::devices
