#include "dualvm/devices/ps2_mouse.h"

#include <algorithm>
#include <cstdlib>

#include "saved_time.h"

namespace dualvm::devices {

namespace {

enum : u8 {
    kScaleOne = 0xe6,
    kScaleTwo = 0xe7,
    kSetResolution = 0xe8,
    kStatusRequest = 0xe9,
    kStreamMode = 0xea,
    kReadData = 0xeb,
    kResetWrap = 0xec,
    kSetWrap = 0xee,
    kRemoteMode = 0xf0,
    kReadType = 0xf2,
    kSetRate = 0xf3,
    kEnable = 0xf4,
    kDisable = 0xf5,
    kSetDefault = 0xf6,
    kResendLast = 0xfe,
    kReset = 0xff
};

constexpr u8 kRates[] = {10, 20, 40, 60, 80, 100, 200};
enum : u8 { kPlain = 0, kWheel = 3, kExplorer = 4 };  // what kReadType answers

constexpr i32 kLargest = 255, kLargestWheel = 7;
constexpr i32 kFarthest = 1 << 20;  // no hand moves more between two reports

// "Scaling 2:1": small movements are made smaller, large ones twice as large.
i32 scale_two(i32 counts) {
    constexpr i32 kSmall[] = {0, 1, 1, 3, 6, 9};
    const i32 size = std::abs(counts);
    const i32 scaled = size < 6 ? kSmall[size] : 2 * size;
    return counts < 0 ? -scaled : scaled;
}

}  // namespace

Ps2Mouse::Ps2Mouse(Clock& clock) : clock_(clock), sample_(clock, [this] { report(); }) { Ps2Mouse::reset(); }

void Ps2Mouse::set_defaults() {
    rate_ = 100;
    resolution_ = 2;  // 4 counts a millimetre
    double_scale_ = remote_ = enabled_ = wrap_ = false;
    pending_command_ = 0;
    last_rates_ = {};
    forget_movement();
    sample_.disarm();
}

void Ps2Mouse::reset() {
    set_defaults();
    clear_output();
    id_ = kPlain;
    buttons_ = told_buttons_ = 0;
}

// --- the hand ------------------------------------------------------------------------------------------------------

void Ps2Mouse::move(int right, int up, int wheel) {
    const auto add = [](i32& sum, int more) {
        sum = std::clamp(sum + std::clamp(more, -kFarthest, kFarthest), -kFarthest, kFarthest);
    };
    add(x_, right);
    add(y_, up);
    add(wheel_, wheel);
    if (!sample_.armed()) report();
}

void Ps2Mouse::set_buttons(u8 buttons) {
    buttons_ = buttons & 0x1f;
    if (!sample_.armed()) report();
}

// In stream mode: what has changed since the last packet, at most once in a sample's time, and whole packets only.
void Ps2Mouse::report() {
    if (id_ == kPlain) wheel_ = 0;
    if (!enabled_ || remote_ || wrap_ || !changed()) return;
    if (kQueue - data_.size() >= packet_size()) {
        make_packet(double_scale_, [this](u8 byte) { data_.push(byte); });
    }
    sample_.arm(clock_.now() + Nanoseconds{1'000'000'000} / rate_);
    tell();
}

// Movement beyond what fits stays for the next packet: nothing overflows.
template <class Put>
void Ps2Mouse::make_packet(bool scaled, Put put) {
    const auto part = [](i32& sum, i32 largest) {
        const i32 counts = std::clamp(sum, -largest, largest);
        sum -= counts;
        return counts;
    };
    const i32 largest = scaled ? kLargest / 2 : kLargest;
    i32 x = part(x_, largest), y = part(y_, largest);
    if (scaled) {
        x = scale_two(x);
        y = scale_two(y);
    }
    constexpr u8 kAlways = 8, kXSign = 0x10, kYSign = 0x20;
    put(static_cast<u8>(kAlways | (buttons_ & 7) | (x < 0 ? kXSign : 0) | (y < 0 ? kYSign : 0)));
    put(static_cast<u8>(x));
    put(static_cast<u8>(y));
    const i32 wheel = part(wheel_, kLargestWheel);
    if (id_ == kWheel) put(static_cast<u8>(wheel));
    if (id_ == kExplorer) put(static_cast<u8>((wheel & 0xf) | (buttons_ & (kFourth | kFifth)) << 1));
    told_buttons_ = buttons_;
}

// --- commands ------------------------------------------------------------------------------------------------------

void Ps2Mouse::take(u8 byte) {
    data_.clear();  // a command ends a packet that is on its way
    const u8 waiting = std::exchange(pending_command_, u8{0});
    if (wrap_ && byte != kReset && byte != kResetWrap) {
        answer(byte);
    } else if (waiting != 0 && byte != kReset) {
        parameter(waiting, byte);
    } else {
        command(byte);
    }
    tell();
}

void Ps2Mouse::set_remote(bool remote) {
    remote_ = remote;
    forget_movement();
}

void Ps2Mouse::command(u8 byte) {
    switch (byte) {
        case kReset:
            reset();
            answer(kAcknowledge);
            answer(kTestPassed);
            answer(kPlain);
            return;
        case kResendLast: answer(last_sent_); return;
        case kScaleOne: double_scale_ = false; break;
        case kScaleTwo: double_scale_ = true; break;
        case kStreamMode: set_remote(false); break;
        case kRemoteMode: set_remote(true); break;
        case kSetWrap:
        case kResetWrap:
            wrap_ = byte == kSetWrap;
            forget_movement();
            break;
        case kSetResolution:
        case kSetRate: pending_command_ = byte; break;
        case kEnable:
            enabled_ = true;
            forget_movement();
            told_buttons_ = buttons_;
            break;
        case kDisable: enabled_ = false; break;
        case kSetDefault: set_defaults(); break;
        case kReadType:
            answer(kAcknowledge);
            answer(id_);
            return;
        case kStatusRequest: {
            constexpr u8 kRemote = 0x40, kEnabled = 0x20, kDouble = 0x10;
            answer(kAcknowledge);
            answer(static_cast<u8>((remote_ ? kRemote : 0) | (enabled_ ? kEnabled : 0) | (double_scale_ ? kDouble : 0) |
                                   ((buttons_ & kLeft) ? 4 : 0) | ((buttons_ & kMiddle) ? 2 : 0) |
                                   ((buttons_ & kRight) ? 1 : 0)));
            answer(resolution_);
            answer(rate_);
            return;
        }
        case kReadData:
            answer(kAcknowledge);
            make_packet(false, [this](u8 packet_byte) { answer(packet_byte); });
            return;
        default: answer(kResend); return;
    }
    answer(kAcknowledge);
}

void Ps2Mouse::parameter(u8 command, u8 value) {
    if (command == kSetResolution && value <= 3) {
        resolution_ = value;
    } else if (command == kSetRate && std::find(std::begin(kRates), std::end(kRates), value) != std::end(kRates)) {
        set_rate(value);
    } else {
        answer(kResend);
        return;
    }
    answer(kAcknowledge);
}

// Three rates in a row ask for what an IntelliMouse has more (Microsoft, "Windows and the 5-button wheel mouse").
void Ps2Mouse::set_rate(u8 rate) {
    if (last_rates_ == std::array<u8, 2>{200, 100} && rate == 80) id_ = kWheel;
    if (last_rates_ == std::array<u8, 2>{200, 200} && rate == 80) id_ = kExplorer;
    last_rates_ = {last_rates_[1], rate};
    rate_ = rate;
}

// --- snapshots -----------------------------------------------------------------------------------------------------

void Ps2Mouse::save(ArchiveWriter& out) const {
    out.tag("PS2M", 1);
    save_output(out);
    for (i32 v : {x_, y_, wheel_}) out.put(v);
    for (u8 v : {buttons_, told_buttons_, rate_, resolution_, id_, pending_command_}) out.put(v);
    out.put_bytes(last_rates_.data(), last_rates_.size());
    for (bool v : {enabled_, remote_, wrap_, double_scale_}) out.put(static_cast<u8>(v));
    put_deadline(out, clock_, sample_.deadline());
}

void Ps2Mouse::load(ArchiveReader& in) {
    in.expect("PS2M", 1);
    load_output(in);
    for (i32* v : {&x_, &y_, &wheel_}) {
        in.get(*v);
        if (*v < -kFarthest || *v > kFarthest) in.set_bad();
    }
    for (u8* v : {&buttons_, &told_buttons_, &rate_, &resolution_, &id_, &pending_command_}) in.get(*v);
    in.get_bytes(last_rates_.data(), last_rates_.size());
    for (bool* v : {&enabled_, &remote_, &wrap_, &double_scale_}) *v = in.get<u8>() != 0;
    const Nanoseconds deadline = get_deadline(in, clock_);
    if (rate_ == 0 || (id_ != kPlain && id_ != kWheel && id_ != kExplorer)) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    sample_.disarm();
    if (deadline != kNever) sample_.arm(deadline);
}

}  // namespace dualvm::devices
