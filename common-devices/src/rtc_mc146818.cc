#include "dualvm/devices/rtc_mc146818.h"

#include <algorithm>
#include <utility>

#include "byte_ports.h"
#include "saved_time.h"

namespace dualvm::devices {

namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr u64 kSecondsPerDay = 86'400;

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
    kCentury = 0x32,
    kChecksumFirst = 0x10,
    kChecksumLast = 0x2d,
    kChecksum = 0x2e
};
enum : u8 {
    kUpdateInProgress = 0x80,
    kDividerMask = 0x70,
    kDivider32768 = 0x20,
    kDividerReset = 0x60,
    kRateMask = 0xf
};
enum : u8 {
    kSet = 0x80,
    kPeriodic = 0x40,
    kAlarm = 0x20,
    kUpdateEnded = 0x10,
    kSquareWave = 8,
    kBinary = 4,
    kHours24 = 2
};  // B, C
constexpr u8 kInterruptBits = kPeriodic | kAlarm | kUpdateEnded;
enum : u8 { kInterrupt = 0x80 };        // C
enum : u8 { kValidRamAndTime = 0x80 };  // D
enum : u8 { kAfternoon = 0x80 };        // of an hour in 12-hour form
constexpr u8 kAnyTime = 0xc0;           // an alarm field of C0h-FFh matches always

// UIP is up for 244 us before an update and for the 1984 us that it takes (data sheet, "Update cycle", 32768 Hz).
constexpr Nanoseconds kUpdateTime = 244'000 + 1'984'000;

}  // namespace

RtcMc146818::RtcMc146818(Clock& clock, IrqLine irq8, std::time_t start_time, u64 memory_bytes)
    : clock_(clock),
      irq_(std::move(irq8)),
      timer_(clock,
             [this] {
                 catch_up();
                 schedule();
             }),
      origin_(clock.now()) {
    cmos_[kA] = kDivider32768 | 6;  // periodic rate 1024 Hz
    cmos_[kB] = kHours24;
    cmos_[kD] = kValidRamAndTime;
    std::tm t{};
    if (gmtime_r(&start_time, &t) != nullptr) set_time(t);
    fill_memory_size(memory_bytes);
}

// The reset pin leaves clock, calendar and RAM alone; it clears the interrupt enables and flags (data sheet, "RESET").
void RtcMc146818::reset() {
    catch_up();
    cmos_[kB] &= static_cast<u8>(~(kInterruptBits | kSquareWave));
    cmos_[kC] = 0;
    index_ = 0;
    update_interrupt();
    schedule();
}

// What a PC's BIOS leaves: no floppy, no disk, KiB of base memory, KiB above 1 MiB (twice), 64 KiB blocks above 16 MiB
// and above 4 GiB, and the checksum.
void RtcMc146818::fill_memory_size(u64 memory_bytes) {
    const auto put16 = [&](u8 at, u64 value) {
        cmos_[at] = static_cast<u8>(value);
        cmos_[at + 1u] = static_cast<u8>(value >> 8);
    };
    constexpr u64 kMiB = u64{1} << 20, kBelow = u64{3} << 30;
    const u64 low = std::min(memory_bytes, kBelow), high = memory_bytes - low;
    const u64 extended = low > kMiB ? std::min<u64>((low - kMiB) / 1024, 0xffff) : 0;
    cmos_[0x14] = 0x02;  // equipment: a coprocessor; a display with a BIOS of its own
    put16(0x15, 640);
    put16(0x17, extended);
    put16(0x30, extended);
    put16(0x34, low > 16 * kMiB ? (low - 16 * kMiB) / 65536 : 0);
    put16(0x5b, high / 65536);
    cmos_[0x5d] = static_cast<u8>(high / 65536 >> 16);
    update_checksum();
}

// 10h has the kinds, the equipment byte 14h how many (PC/AT technical reference, "CMOS RAM").
void RtcMc146818::set_floppy_drives(const std::array<u8, 2>& kinds) {
    constexpr u8 kKinds = 0x10, kEquipment = 0x14, kAny = 0x01, kTwo = 0x40;
    cmos_[kKinds] = static_cast<u8>(kinds[0] << 4 | kinds[1]);
    cmos_[kEquipment] = static_cast<u8>(cmos_[kEquipment] & ~(kAny | 0xc0));
    if (kinds[0] != 0 || kinds[1] != 0) cmos_[kEquipment] |= kAny;
    if (kinds[0] != 0 && kinds[1] != 0) cmos_[kEquipment] |= kTwo;
    update_checksum();
}

// Bochs's and QEMU's way, which SeaBIOS reads: 3Dh has the first and the second, the upper half of 38h the third.
void RtcMc146818::set_boot_order(const std::array<u8, 3>& kinds) {
    constexpr u8 kOrder = 0x3d, kOrderAndFlags = 0x38;
    cmos_[kOrder] = static_cast<u8>((kinds[0] & 0xf) | kinds[1] << 4);
    cmos_[kOrderAndFlags] = static_cast<u8>((cmos_[kOrderAndFlags] & 0xf) | kinds[2] << 4);
}

// Of 10h-2Dh, high byte first (PC/AT technical reference).
void RtcMc146818::update_checksum() {
    u16 sum = 0;
    for (unsigned i = kChecksumFirst; i <= kChecksumLast; ++i) sum = static_cast<u16>(sum + cmos_[i]);
    cmos_[kChecksum] = static_cast<u8>(sum >> 8);
    cmos_[kChecksum + 1u] = static_cast<u8>(sum);
}

// --- the registers' form: BCD or binary, 12 or 24 hours (data sheet, "Time, Calendar, and Alarm Locations") ---

u8 RtcMc146818::encode(int value) const {
    return static_cast<u8>((cmos_[kB] & kBinary) ? value : value / 10 << 4 | value % 10);
}
int RtcMc146818::decode(u8 value) const { return (cmos_[kB] & kBinary) ? value : (value >> 4) * 10 + (value & 0xf); }

u8 RtcMc146818::encode_hour(int hour) const {
    if (cmos_[kB] & kHours24) return encode(hour);
    return static_cast<u8>(encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? kAfternoon : 0));
}
int RtcMc146818::decode_hour(u8 value) const {
    if (cmos_[kB] & kHours24) return decode(value);
    return decode(value & 0x7f) % 12 + ((value & kAfternoon) ? 12 : 0);
}

std::tm RtcMc146818::time() const {
    std::tm t{};
    t.tm_sec = decode(cmos_[kSeconds]);
    t.tm_min = decode(cmos_[kMinutes]);
    t.tm_hour = decode_hour(cmos_[kHours]);
    t.tm_wday = decode(cmos_[kWeekday]) - 1;
    t.tm_mday = decode(cmos_[kDay]);
    t.tm_mon = decode(cmos_[kMonth]) - 1;
    t.tm_year = decode(cmos_[kCentury]) * 100 + decode(cmos_[kYear]) - 1900;
    return t;
}

void RtcMc146818::set_time(const std::tm& t) {
    cmos_[kSeconds] = encode(t.tm_sec);
    cmos_[kMinutes] = encode(t.tm_min);
    cmos_[kHours] = encode_hour(t.tm_hour);
    cmos_[kWeekday] = encode(t.tm_wday + 1);
    cmos_[kDay] = encode(t.tm_mday);
    cmos_[kMonth] = encode(t.tm_mon + 1);
    cmos_[kYear] = encode((t.tm_year + 1900) % 100);
    cmos_[kCentury] = encode((t.tm_year + 1900) / 100 % 100);
}

// --- what has happened since somebody last looked ---

// This PC's crystal gives 32768 Hz; with the divider set for another, or held in reset, nothing counts.
bool RtcMc146818::divider_runs() const { return (cmos_[kA] & kDividerMask) == kDivider32768; }
bool RtcMc146818::updates() const { return divider_runs() && (cmos_[kB] & kSet) == 0; }

u64 RtcMc146818::seconds() const { return (clock_.now() - origin_) / kSecond; }
u64 RtcMc146818::periods() const { return period() == 0 ? 0 : (clock_.now() - origin_) / period(); }

// Of the periodic interrupt (data sheet, "Register A", for the 32768 Hz time base); 0 is none.
Nanoseconds RtcMc146818::period() const {
    unsigned rate = cmos_[kA] & kRateMask;
    if (rate == 0) return 0;
    if (rate <= 2) rate += 7;
    return (u64{1} << (rate - 1)) * kSecond / 32768;
}

bool RtcMc146818::update_in_progress() const {
    return updates() && (clock_.now() - origin_) % kSecond >= kSecond - kUpdateTime;
}

bool RtcMc146818::alarm_field_matches(u8 index, int value) const {
    if ((cmos_[index] & kAnyTime) == kAnyTime) return true;
    return cmos_[index] == (index == kHoursAlarm ? encode_hour(value) : encode(value));
}

// Does one of the `seconds` seconds after `second_of_day` match the alarm? A day holds every time there is.
bool RtcMc146818::alarm_between(int second_of_day, u64 seconds) const {
    for (u64 i = 1; i <= std::min(seconds, kSecondsPerDay); ++i) {
        const auto at = static_cast<int>((static_cast<u64>(second_of_day) + i) % kSecondsPerDay);
        if (alarm_field_matches(kSecondsAlarm, at % 60) && alarm_field_matches(kMinutesAlarm, at / 60 % 60) &&
            alarm_field_matches(kHoursAlarm, at / 3600)) {
            return true;
        }
    }
    return false;
}

void RtcMc146818::advance_time(u64 seconds) {
    std::tm t = time();
    const int weekday = t.tm_wday;
    const std::time_t before = timegm(&t);  // sorts out a 31st of February, too
    if (alarm_between((t.tm_hour * 60 + t.tm_min) * 60 + t.tm_sec, seconds)) cmos_[kC] |= kAlarm;
    const std::time_t after = before + static_cast<std::time_t>(seconds);
    const auto day = [](std::time_t when) {  // rounded down, before 1970 too
        constexpr auto kDay = static_cast<std::time_t>(kSecondsPerDay);
        return (when >= 0 ? when : when - (kDay - 1)) / kDay;
    };
    gmtime_r(&after, &t);
    // The chip counts weekdays by themselves, whatever the date says.
    t.tm_wday = static_cast<int>((weekday + (day(after) - day(before)) % 7 + 7) % 7);
    set_time(t);
    cmos_[kC] |= kUpdateEnded;
}

// Flags are set whether or not their interrupts are enabled: guests poll them (data sheet, "Register C").
void RtcMc146818::catch_up() {
    if (divider_runs()) {
        const u64 second = seconds(), period_count = periods();
        if (second != seen_seconds_ && updates()) advance_time(second - seen_seconds_);
        if (period_count != seen_periods_) cmos_[kC] |= kPeriodic;
        seen_seconds_ = second;
        seen_periods_ = period_count;
    }
    update_interrupt();
}

void RtcMc146818::update_interrupt() {
    const bool asserted = (cmos_[kC] & cmos_[kB] & kInterruptBits) != 0;
    cmos_[kC] = static_cast<u8>((cmos_[kC] & kInterruptBits) | (asserted ? kInterrupt : 0));
    irq_.set(asserted);
}

// Arms the timer for the next event that may interrupt. With the interrupt asserted none can, until the guest has read
// register C.
void RtcMc146818::schedule() {
    const Nanoseconds now = clock_.now(), since = now - origin_;
    Nanoseconds wait = kNever;
    if (divider_runs() && !irq_.level()) {
        const bool periodic = (cmos_[kB] & kPeriodic) != 0 && period() != 0;
        const bool each_second = (cmos_[kB] & (kAlarm | kUpdateEnded)) != 0 && updates();
        if (periodic) wait = seen_periods_ != periods() ? 0 : period() - since % period();
        if (each_second) wait = std::min(wait, seen_seconds_ != seconds() ? 0 : kSecond - since % kSecond);
    }
    if (wait == kNever) {
        timer_.disarm();
    } else {
        timer_.arm(now + wait);
    }
}

// --- registers ---

u8 RtcMc146818::read_register(u8 index) {
    catch_up();
    switch (index) {
        case kA: return static_cast<u8>(cmos_[kA] | (update_in_progress() ? kUpdateInProgress : 0));
        case kC: {
            const u8 flags = cmos_[kC];
            cmos_[kC] = 0;  // reading it answers all of them
            update_interrupt();
            schedule();
            return flags;
        }
        default: return cmos_[index];
    }
}

// Leaving divider reset, "the first update cycle begins one-half second later".
void RtcMc146818::write_a(u8 value) {
    const bool was_reset = (cmos_[kA] & kDividerReset) == kDividerReset;
    const bool ran = divider_runs();
    cmos_[kA] = static_cast<u8>(value & ~kUpdateInProgress);
    if (divider_runs() && !ran) {
        origin_ = clock_.now() - (was_reset ? kSecond / 2 : 0);
        seen_seconds_ = seconds();
    }
    seen_periods_ = periods();
}

// SET stops updates and clears UIE (data sheet, "Register B").
void RtcMc146818::write_b(u8 value) {
    cmos_[kB] = (value & kSet) ? static_cast<u8>(value & ~kUpdateEnded) : value;
    update_interrupt();
}

void RtcMc146818::write_register(u8 index, u8 value) {
    catch_up();
    switch (index) {
        case kA: write_a(value); break;
        case kB: write_b(value); break;
        case kC:
        case kD: return;  // read-only
        default: cmos_[index] = value; return;
    }
    schedule();
}

u64 RtcMc146818::read(u64 offset, unsigned size) {
    return read_by_bytes(offset, size, [this](u64 at) {
        return at == 0 ? u8{0xff} : read_register(index_ & 0x7f);  // port 70h cannot be read
    });
}

void RtcMc146818::write(u64 offset, unsigned size, u64 value) {
    write_by_bytes(offset, size, value, [this](u64 at, u8 byte) {
        if (at == 0) {
            index_ = byte;
        } else {
            write_register(index_ & 0x7f, byte);
        }
    });
}

void RtcMc146818::save(ArchiveWriter& out) const {
    out.tag("RTC ", 1);
    out.put_bytes(cmos_.data(), cmos_.size());
    out.put(index_);
    out.put(clock_.now() - origin_);
    out.put(seen_seconds_);
    out.put(seen_periods_);
}

void RtcMc146818::load(ArchiveReader& in) {
    in.expect("RTC ", 1);
    std::array<u8, 128> cmos{};
    in.get_bytes(cmos.data(), cmos.size());
    const auto index = in.get<u8>();
    const auto since = in.get<Nanoseconds>();
    const auto seconds_seen = in.get<u64>(), periods_seen = in.get<u64>();
    if (since > kLongestSaved || seconds_seen > since / kSecond || periods_seen > since) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    cmos_ = cmos;
    cmos_[kA] &= static_cast<u8>(~kUpdateInProgress);
    index_ = index;
    origin_ = clock_.now() - since;
    seen_seconds_ = seconds_seen;
    seen_periods_ = periods_seen;
    update_interrupt();
    schedule();
}

}  // namespace dualvm::devices
