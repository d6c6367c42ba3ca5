#include "dualvm/devices/acpi_pm.h"

#include <utility>

#include "byte_ports.h"
#include "saved_time.h"

namespace dualvm::devices {

namespace {

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;
__extension__ using Wide = unsigned __int128;  // nanoseconds times hertz

// PM1 status and enable (ACPI 4.8.3.1): timer, global lock, power button, sleep button, RTC.
constexpr u16 kTimerEvent = 1u << 0, kEnableWritable = 0x0721;
// PM1 control (4.8.3.2.1).
constexpr u16 kSciEnable = 1u << 0, kSleepEnable = 1u << 13, kControlWritable = 0x1c02;
constexpr unsigned kSleepTypeShift = 10;
constexpr u16 kSleepType = 7;

u8 byte_of(u16 value, u64 which) { return static_cast<u8>(value >> (8 * which)); }
u16 with_byte(u16 value, u64 which, u8 byte) {
    const auto shift = 8 * which;
    return static_cast<u16>((value & ~(0xffu << shift)) | static_cast<unsigned>(byte) << shift);
}

}  // namespace

AcpiPm::AcpiPm(Machine& machine, IrqLine sci)
    : machine_(machine), sci_(std::move(sci)), timer_(machine.clock(), [this] { update(); }) {
    AcpiPm::reset();
}

void AcpiPm::reset() {
    enable_ = control_ = gpe_enable_ = 0;
    origin_ = machine_.clock().now();
    carries_seen_ = 0;
    update();
}

u64 AcpiPm::ticks() const {
    const Nanoseconds since = machine_.clock().now() - origin_;
    return static_cast<u64>(static_cast<Wide>(since) * kTimerHertz / kNanosecondsPerSecond);
}

u16 AcpiPm::status() const { return carries() != carries_seen_ ? kTimerEvent : 0; }

// The SCI is a level: it stays up until the guest has cleared every enabled event.
void AcpiPm::update() {
    const u16 events = status();  // once: the host's clock goes on
    sci_.set((events & enable_) != 0);
    schedule(events);
}

void AcpiPm::schedule(u16 events) {
    if (events != 0 || (enable_ & kTimerEvent) == 0) {
        timer_.disarm();
        return;
    }
    // Counted from the carry that was seen: another may have come just now.
    const Wide next = static_cast<Wide>(carries_seen_ + 1) << (kTimerBits - 1);
    timer_.arm(origin_ + static_cast<Nanoseconds>((next * kNanosecondsPerSecond + kTimerHertz - 1) / kTimerHertz));
}

u8 AcpiPm::read_byte(u64 offset) const {
    switch (offset) {
        case kEvent:
        case kEvent + 1: return byte_of(status(), offset - kEvent);
        case kEvent + 2:
        case kEvent + 3: return byte_of(enable_, offset - kEvent - 2);
        case kControl:
        case kControl + 1: return byte_of(static_cast<u16>(control_ | kSciEnable), offset - kControl);
        case kGpe + 2:
        case kGpe + 3: return byte_of(gpe_enable_, offset - kGpe - 2);
        default: return 0;  // no general-purpose event ever happens; the PIIX4's other registers are not here
    }
}

u64 AcpiPm::read(u64 offset, unsigned size) {
    if (offset >= kTimer && offset < kTimer + 4) {
        return (ticks() & ((u64{1} << kTimerBits) - 1)) >> (8 * (offset - kTimer));
    }
    return read_by_bytes(offset, size, [this](u64 at) { return read_byte(at); });
}

void AcpiPm::write_byte(u64 offset, u8 value) {
    switch (offset) {
        case kEvent:
            if ((value & kTimerEvent) != 0) carries_seen_ = carries();  // status bits are cleared by writing 1
            break;
        case kEvent + 2:
        case kEvent + 3: enable_ = with_byte(enable_, offset - kEvent - 2, value) & kEnableWritable; break;
        case kControl:
        case kControl + 1: {
            const u16 written = with_byte(control_, offset - kControl, value);
            control_ = written & kControlWritable;
            const unsigned type = written >> kSleepTypeShift & kSleepType;
            if ((written & kSleepEnable) != 0 && type == kSoftOff) machine_.request({.kind = RequestKind::PowerOff});
            break;
        }
        case kGpe + 2:
        case kGpe + 3: gpe_enable_ = with_byte(gpe_enable_, offset - kGpe - 2, value); break;
        default: break;
    }
}

void AcpiPm::write(u64 offset, unsigned size, u64 value) {
    write_by_bytes(offset, size, value, [this](u64 at, u8 byte) { write_byte(at, byte); });
    update();
}

void AcpiPm::save(ArchiveWriter& out) const {
    out.tag("APM ", 1);
    for (u16 v : {enable_, control_, gpe_enable_}) out.put(v);
    out.put(machine_.clock().now() - origin_);
    out.put(carries_seen_);
    out.put(static_cast<u8>(sci_.level()));
}

void AcpiPm::load(ArchiveReader& in) {
    in.expect("APM ", 1);
    for (u16* v : {&enable_, &control_, &gpe_enable_}) in.get(*v);
    const auto since = in.get<Nanoseconds>();
    in.get(carries_seen_);
    const bool level = in.get<u8>() != 0;
    if (since > kLongestSaved) in.set_bad();
    origin_ = machine_.clock().now() - since;
    if (carries_seen_ > carries()) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    enable_ &= kEnableWritable;
    control_ &= kControlWritable;
    sci_.set(level);
    schedule(status());
    // An event that had come while the timer had not fired yet.
    if (!level && (status() & enable_) != 0) timer_.arm(machine_.clock().now());
}

}  // namespace dualvm::devices
