#include "dualvm/devices/pit_channel.h"

namespace dualvm::devices {

namespace {

u32 from_bcd(u32 v) { return (v & 0xf) + 10 * ((v >> 4) & 0xf) + 100 * ((v >> 8) & 0xf) + 1000 * ((v >> 12) & 0xf); }
u16 to_bcd(u32 v) {
    return static_cast<u16>(v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12);
}

// Is `now` before `then`? Differences are modulo 2^64.
bool before(PitTick now, PitTick then) { return static_cast<i64>(now - then) < 0; }

// The high part of mode 3's square wave; the low part is shorter by one for odd counts.
u64 high_half(u64 count) { return (count + 1) / 2; }

}  // namespace

// Modes 2 and 3: a new count written while counting leaves the sequence that runs as it is (data sheet); it takes
// over at the end of the period, in mode 3 of the half-cycle.
PitChannel::Sequence PitChannel::sequence(PitTick now) const {
    if (reload_at_ == kNoTick || before(now, reload_at_)) return current_;
    Sequence next{.start = reload_at_, .count = reload_};
    // In mode 3 a reload in the middle of a period finds OUT falling: the new count begins with its low part.
    if (mode_ == 3 && (reload_at_ - current_.start) % current_.count != 0) next.start -= high_half(next.count);
    return next;
}

void PitChannel::settle(PitTick now) {
    current_ = sequence(now);
    if (reload_at_ != kNoTick && !before(now, reload_at_)) reload_at_ = kNoTick;
}

// Ticks counted. A low gate holds the counter, except in the modes that it only triggers.
u64 PitChannel::elapsed(PitTick now, const Sequence& s) const {
    if (!gate_ && !triggered()) return held_;
    return before(now, s.start) ? 0 : now - s.start;
}

// The OUT pin ("Mode definitions").
bool PitChannel::output_of(PitTick now, const Sequence& s) const {
    if (!running_) return mode_ != 0;
    if (periodic() && !gate_) return true;
    if (before(now, s.start)) return level_before_;
    const u64 t = elapsed(now, s);
    switch (mode_) {
        case 0:
        case 1: return t >= s.count;                             // low until terminal count
        case 2: return t % s.count != s.count - 1;               // low for one tick in each period
        case 3: return t % s.count < high_half(s.count);         // square wave
        default: return t != s.count || (mode_ == 4 && !gate_);  // 4, 5: a strobe of one tick
    }
}

bool PitChannel::output(PitTick now) const { return output_of(now, sequence(now)); }

// On the ISA bus a count takes longer to read than a CLK pulse takes to come, so nobody sees the counting element
// before it is loaded. A virtual clock's CPU is fast enough to: it is shown the count that is about to be loaded.
u16 PitChannel::count(PitTick now) const {
    if (!running_) return frozen_;
    const Sequence s = sequence(now);
    const u64 t = elapsed(now, s);
    u64 value = 0;
    switch (mode_) {
        case 2: value = s.count - t % s.count; break;
        case 3: {  // counts down by two from an even number, twice in each period
            const u64 high = high_half(s.count), in_period = t % s.count;
            value = (s.count & ~1u) - 2 * (in_period < high ? in_period : in_period - high);
            break;
        }
        default: value = s.count + modulus() - t % modulus(); break;  // counts on through 0
    }
    const auto shown = static_cast<u32>(value % modulus());
    return bcd_ ? to_bcd(shown) : static_cast<u16>(shown);
}

PitTick PitChannel::rise_of(PitTick now, const Sequence& s) const {
    const bool begun = !before(now, s.start);
    switch (mode_) {
        case 0:
        case 1: return !begun || now - s.start < s.count ? s.start + s.count : kNoTick;
        case 2:
        case 3: return begun ? s.start + ((now - s.start) / s.count + 1) * s.count : s.start + s.count;
        default: return !begun || now - s.start <= s.count ? s.start + s.count + 1 : kNoTick;
    }
}

PitTick PitChannel::next_rise(PitTick now) const {
    if (!running_ || (!gate_ && !triggered())) return kNoTick;
    const PitTick rise = rise_of(now, sequence(now));
    if (reload_at_ == kNoTick || !before(now, reload_at_) || !before(reload_at_, rise)) return rise;
    return rise_of(reload_at_, sequence(reload_at_));  // the new count comes first, at a falling edge
}

// The status byte's bit 6: a count was written that the counting element has not got yet.
bool PitChannel::null_count(PitTick now) const {
    if (!has_count_ || waits_for_trigger_) return true;
    return before(now, current_.start) || (reload_at_ != kNoTick && before(now, reload_at_));
}

// The next CLK pulse transfers the count register to the counting element, and counting begins.
void PitChannel::begin(PitTick now) {
    level_before_ = output(now);
    current_ = {.start = now + 1, .count = reload_};
    reload_at_ = kNoTick;
    held_ = 0;
    running_ = true;
    waits_for_trigger_ = false;
}

void PitChannel::stop(PitTick now) {
    settle(now);
    frozen_ = count(now);
    running_ = has_count_ = waits_for_trigger_ = false;
    reload_at_ = kNoTick;
}

void PitChannel::write_control(PitTick now, u8 control) {
    stop(now);
    access_ = static_cast<u8>((control >> 4) & 3);
    mode_ = static_cast<u8>((control >> 1) & 7);
    if (mode_ > 5) mode_ &= 3;  // 6 and 7 are 2 and 3
    bcd_ = (control & 1) != 0;
    high_next_on_write_ = high_next_on_read_ = count_latched_ = status_latched_ = false;
}

void PitChannel::load_count(PitTick now, u32 written) {
    settle(now);
    reload_ = bcd_ ? from_bcd(written) : written;
    if (reload_ == 0) reload_ = modulus();
    // A count of 1 is illegal in modes 2 and 3; the shortest that is legal is used instead.
    if (periodic() && reload_ == 1) reload_ = 2;
    has_count_ = true;
    waits_for_trigger_ = triggered() || (periodic() && running_ && !gate_);
    if (waits_for_trigger_) return;
    if (!periodic() || !running_) {
        begin(now);
        if (mode_ == 0) level_before_ = false;  // OUT is low from the write on
    } else if (before(now, current_.start)) {
        current_.count = reload_;
    } else {
        const u64 t = (now - current_.start) % current_.count;
        const u64 high = high_half(current_.count);
        reload_at_ = now - t + (mode_ == 3 && t < high ? high : current_.count);
    }
}

void PitChannel::write(PitTick now, u8 byte) {
    switch (access_) {
        case 1: load_count(now, byte); break;
        case 2: load_count(now, u32{byte} << 8); break;
        default:
            if (high_next_on_write_) {
                load_count(now, u32{byte} << 8 | low_byte_);
            } else {
                low_byte_ = byte;
                // Mode 0: the first byte stops the count and takes OUT low at once.
                if (mode_ == 0) stop(now);
            }
            high_next_on_write_ = !high_next_on_write_;
            break;
    }
}

u8 PitChannel::read(PitTick now) {
    if (status_latched_) {
        status_latched_ = false;
        return status_;
    }
    const u16 value = count_latched_ ? latch_ : count(now);
    const bool high = access_ == 2 || (access_ == 3 && high_next_on_read_);
    if (access_ == 3) high_next_on_read_ = !high_next_on_read_;
    if (access_ != 3 || high) count_latched_ = false;
    return static_cast<u8>(high ? value >> 8 : value);
}

// A count stays latched until it is read: a further command before that does nothing.
void PitChannel::latch_count(PitTick now) {
    if (count_latched_) return;
    latch_ = count(now);
    count_latched_ = true;
}

void PitChannel::latch_status(PitTick now) {
    if (status_latched_) return;
    status_ = static_cast<u8>((output(now) ? 0x80 : 0) | (null_count(now) ? 0x40 : 0) | access_ << 4 | mode_ << 1 |
                              (bcd_ ? 1 : 0));
    status_latched_ = true;
}

// "Gate pin operations summary": low stops modes 0, 2, 3 and 4; rising, it triggers 1, 2, 3 and 5.
void PitChannel::set_gate(PitTick now, bool gate) {
    if (gate == gate_) return;
    settle(now);
    if (!gate) {
        held_ = elapsed(now, current_);
        if (periodic()) reload_at_ = kNoTick;  // the next trigger takes the count register as it is
        gate_ = false;
        return;
    }
    if (running_ && !periodic() && !triggered()) {
        current_.start = now - held_;  // goes on
        gate_ = true;
        return;
    }
    if (has_count_) begin(now);
    gate_ = true;
}

void PitChannel::save(ArchiveWriter& out, PitTick now) const {
    PitChannel c = *this;
    c.settle(now);
    for (u8 v : {c.mode_, c.access_, c.low_byte_, c.status_}) out.put(v);
    for (bool v : {c.bcd_, c.gate_, c.running_, c.has_count_, c.waits_for_trigger_, c.level_before_,
                   c.high_next_on_write_, c.high_next_on_read_, c.count_latched_, c.status_latched_}) {
        out.put(static_cast<u8>(v));
    }
    out.put(c.reload_);
    out.put(c.current_.count);
    out.put(now + 1 - c.current_.start);  // it may begin with the next tick
    out.put(c.reload_at_ == kNoTick ? 0 : static_cast<u32>(c.reload_at_ - now));
    out.put(c.held_);
    for (u16 v : {c.frozen_, c.latch_}) out.put(v);
}

void PitChannel::load(ArchiveReader& in, PitTick now) {
    for (u8* v : {&mode_, &access_, &low_byte_, &status_}) in.get(*v);
    for (bool* v : {&bcd_, &gate_, &running_, &has_count_, &waits_for_trigger_, &level_before_, &high_next_on_write_,
                    &high_next_on_read_, &count_latched_, &status_latched_}) {
        *v = in.get<u8>() != 0;
    }
    in.get(reload_);
    in.get(current_.count);
    const auto since_start = in.get<u64>();
    const auto to_reload = in.get<u32>();
    in.get(held_);
    for (u16* v : {&frozen_, &latch_}) in.get(*v);
    current_.start = now + 1 - since_start;
    reload_at_ = to_reload == 0 ? kNoTick : now + to_reload;
    const auto bad_count = [&](u32 count) { return count == 0 || count > 0x10000 || (periodic() && count < 2); };
    // No counter has run for longer than this: 2^56 ticks are 1900 years.
    constexpr u64 kLongest = u64{1} << 56;
    if (mode_ > 5 || access_ == 0 || access_ > 3 || bad_count(reload_) || bad_count(current_.count) ||
        since_start > kLongest || held_ > kLongest || to_reload > 0x10000) {
        in.set_bad();
    }
}

}  // namespace dualvm::devices
