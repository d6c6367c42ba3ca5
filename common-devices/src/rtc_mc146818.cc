#include "dualvm/devices/rtc_mc146818.h"

#include <algorithm>
#include <utility>

namespace dualvm::devices {

namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;

enum : u8 {
    kSeconds = 0,
    kSecondsAlarm = 1,
    kMinutes = 2,
    kMinutesAlarm = 3,
    kHours = 4,
    kHoursAlarm = 5,
    kWeekday = 6,
    kDay = 7,
    kMonth = 8,
    kYear = 9,
    kA = 10,
    kB = 11,
    kC = 12,
    kD = 13,
    kCentury = 0x32
};
enum : u8 { kUpdateInProgress = 0x80 };  // register A
enum : u8 { kSet = 0x80, kPeriodic = 0x40, kAlarm = 0x20, kUpdateEnded = 0x10, kBinary = 4, kHours24 = 2 };  // B
enum : u8 { kInterrupt = 0x80 };                                                                             // C
constexpr u8 kAnyTime = 0xc0;  // an alarm field of C0h-FFh matches always

}  // namespace

RtcMc146818::RtcMc146818(Clock& clock, IrqLine irq8, std::time_t start_time, u64 memory_bytes)
    : clock_(clock),
      irq_(std::move(irq8)),
      timer_(clock, [this] { fire(); }),
      start_time_(start_time),
      memory_bytes_(memory_bytes) {
    RtcMc146818::reset();
}

void RtcMc146818::reset() {
    cmos_ = {};
    cmos_[kA] = 0x26;  // 32768 Hz, periodic rate 1024 Hz
    cmos_[kB] = kHours24;
    cmos_[kD] = 0x80;  // the battery is good
    index_ = 0;
    offset_seconds_ = 0;
    next_periodic_ = next_second_ = kNever;
    fill_memory_size();
    timer_.disarm();
    irq_.lower();
}

// What a PC's BIOS leaves: KiB of base memory, KiB above 1 MiB (twice), 64 KiB blocks above 16 MiB and above 4 GiB, and
// the checksum over 10h-2Dh.
void RtcMc146818::fill_memory_size() {
    auto put16 = [&](u8 at, u64 value) {
        cmos_[at] = static_cast<u8>(value);
        cmos_[at + 1u] = static_cast<u8>(value >> 8);
    };
    constexpr u64 kMiB = u64{1} << 20, kBelow = u64{3} << 30;
    const u64 low = std::min(memory_bytes_, kBelow), high = memory_bytes_ - low;
    const u64 extended = low > kMiB ? std::min<u64>((low - kMiB) / 1024, 0xffff) : 0;
    cmos_[0x14] = 0x06;  // equipment: coprocessor and 80-column display
    put16(0x15, 640);
    put16(0x17, extended);
    put16(0x30, extended);
    put16(0x34, low > 16 * kMiB ? (low - 16 * kMiB) / 65536 : 0);
    cmos_[0x5b] = static_cast<u8>(high / 65536);
    cmos_[0x5c] = static_cast<u8>(high / 65536 >> 8);
    cmos_[0x5d] = static_cast<u8>(high / 65536 >> 16);
    u16 sum = 0;
    for (unsigned i = 0x10; i <= 0x2d; ++i) sum = static_cast<u16>(sum + cmos_[i]);
    cmos_[0x2e] = static_cast<u8>(sum >> 8);
    cmos_[0x2f] = static_cast<u8>(sum);
}

std::tm RtcMc146818::now() const {
    const std::time_t t = start_time_ + static_cast<std::time_t>(clock_.now() / kSecond) + offset_seconds_;
    std::tm fields{};
    gmtime_r(&t, &fields);
    return fields;
}

u8 RtcMc146818::encode(int value) const {
    return static_cast<u8>((cmos_[kB] & kBinary) ? value : value / 10 << 4 | value % 10);
}
int RtcMc146818::decode(u8 value) const { return (cmos_[kB] & kBinary) ? value : (value >> 4) * 10 + (value & 0xf); }

// The 244 microseconds before an update (data sheet, figure 15).
bool RtcMc146818::update_in_progress() const {
    return (cmos_[kB] & kSet) == 0 && clock_.now() % kSecond >= kSecond - 244'000;
}

u8 RtcMc146818::read_register(u8 index) {
    const std::tm t = now();
    switch (index) {
        case kSeconds: return encode(t.tm_sec);
        case kMinutes: return encode(t.tm_min);
        case kHours: {
            if (cmos_[kB] & kHours24) return encode(t.tm_hour);
            const int twelve = t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12;
            return static_cast<u8>(encode(twelve) | (t.tm_hour >= 12 ? 0x80 : 0));
        }
        case kWeekday: return encode(t.tm_wday + 1);
        case kDay: return encode(t.tm_mday);
        case kMonth: return encode(t.tm_mon + 1);
        case kYear: return encode(t.tm_year % 100);
        case kCentury: return encode((t.tm_year + 1900) / 100);
        case kA: return static_cast<u8>(cmos_[kA] | (update_in_progress() ? kUpdateInProgress : 0));
        case kC: {
            const u8 flags = cmos_[kC];
            cmos_[kC] = 0;  // reading it answers all of them
            irq_.lower();
            schedule();
            return flags;
        }
        default: return cmos_[index];
    }
}

// A time field is set by moving the whole clock.
void RtcMc146818::set_time_field(u8 index, u8 value) {
    std::tm t = now();
    const std::time_t before = timegm(&t);
    switch (index) {
        case kSeconds: t.tm_sec = decode(value); break;
        case kMinutes: t.tm_min = decode(value); break;
        case kHours:
            t.tm_hour = (cmos_[kB] & kHours24) ? decode(value) : decode(value & 0x7f) % 12 + ((value & 0x80) ? 12 : 0);
            break;
        case kDay: t.tm_mday = decode(value); break;
        case kMonth: t.tm_mon = decode(value) - 1; break;
        case kYear: t.tm_year = (t.tm_year + 1900) / 100 * 100 + decode(value) - 1900; break;
        case kCentury: t.tm_year = decode(value) * 100 + t.tm_year % 100 - 1900; break;
        default: return;  // the day of the week follows from the date
    }
    offset_seconds_ += timegm(&t) - before;
}

void RtcMc146818::write_register(u8 index, u8 value) {
    switch (index) {
        case kSeconds:
        case kMinutes:
        case kHours:
        case kWeekday:
        case kDay:
        case kMonth:
        case kYear:
        case kCentury: set_time_field(index, value); break;
        case kA: cmos_[kA] = value & 0x7f; break;
        case kB: cmos_[kB] = value; break;
        case kC:
        case kD: return;  // read-only
        default: cmos_[index] = value; return;
    }
    next_periodic_ = kNever;
    schedule();
}

// Of the periodic interrupt (data sheet, table 5, for the 32768 Hz time base).
Nanoseconds RtcMc146818::period() const {
    unsigned rate = cmos_[kA] & 0xf;
    if (rate == 0) return 0;
    if (rate <= 2) rate += 7;
    return (u64{1} << (rate - 1)) * kSecond / 32768;
}

// Arms the timer for what comes next of those interrupts that are enabled.
void RtcMc146818::schedule() {
    const Nanoseconds t = clock_.now();
    const bool periodic = (cmos_[kB] & kPeriodic) != 0 && period() != 0;
    if (!periodic) {
        next_periodic_ = kNever;
    } else if (next_periodic_ == kNever || next_periodic_ <= t) {
        next_periodic_ = (t / period() + 1) * period();
    }
    const bool each_second = (cmos_[kB] & (kAlarm | kUpdateEnded)) != 0 && (cmos_[kB] & kSet) == 0;
    next_second_ = each_second ? (t / kSecond + 1) * kSecond : kNever;
    timer_.arm(std::min(next_periodic_, next_second_));
}

void RtcMc146818::raise(u8 flags) {
    cmos_[kC] |= flags;
    if (cmos_[kC] & cmos_[kB] & (kPeriodic | kAlarm | kUpdateEnded)) {
        cmos_[kC] |= kInterrupt;
        irq_.raise();
    }
}

void RtcMc146818::fire() {
    const Nanoseconds t = clock_.now();
    if (next_periodic_ <= t) raise(kPeriodic);
    if (next_second_ <= t) {
        raise(kUpdateEnded);
        auto matches = [&](u8 alarm, u8 field) {
            return (cmos_[alarm] & kAnyTime) == kAnyTime || cmos_[alarm] == read_register(field);
        };
        if (matches(kSecondsAlarm, kSeconds) && matches(kMinutesAlarm, kMinutes) && matches(kHoursAlarm, kHours)) {
            raise(kAlarm);
        }
    }
    schedule();
}

u64 RtcMc146818::read(u64 offset, unsigned) { return offset == 0 ? 0xff : read_register(index_ & 0x7f); }

void RtcMc146818::write(u64 offset, unsigned, u64 value) {
    if (offset == 0) {
        index_ = static_cast<u8>(value);  // bit 7 masks NMI, of which this PC has none
    } else {
        write_register(index_ & 0x7f, static_cast<u8>(value));
    }
}

void RtcMc146818::save(ArchiveWriter& out) const {
    out.tag("RTC ", 1);
    out.put_bytes(cmos_.data(), cmos_.size());
    out.put(index_);
    out.put(static_cast<i64>(start_time_));
    out.put(offset_seconds_);
    out.put(next_periodic_);
    out.put(next_second_);
}

void RtcMc146818::load(ArchiveReader& in) {
    if (!in.expect("RTC ", 1)) return;
    in.get_bytes(cmos_.data(), cmos_.size());
    in.get(index_);
    const auto start = in.get<i64>(), offset = in.get<i64>();
    // Within the years that a tm can hold; a hostile archive must not overflow it.
    constexpr i64 kLimit = i64{1} << 45;
    if (start > kLimit || start < -kLimit || offset > kLimit || offset < -kLimit) in.set_bad();
    const auto periodic = in.get<Nanoseconds>(), second = in.get<Nanoseconds>();
    if (!in.ok()) {
        reset();
        return;
    }
    start_time_ = start;
    offset_seconds_ = offset;
    next_periodic_ = periodic;
    next_second_ = second;
    timer_.arm(std::min(periodic, second));
    irq_.set((cmos_[kC] & kInterrupt) != 0);
}

}  // namespace dualvm::devices
