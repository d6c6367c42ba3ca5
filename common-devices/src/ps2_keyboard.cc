#include "dualvm/devices/ps2_keyboard.h"

#include <algorithm>

#include "saved_time.h"

namespace dualvm::devices {

namespace {

enum : u8 {
    kSetLeds = 0xed,
    kEcho = 0xee,
    kScanCodeSet = 0xf0,
    kIdentify = 0xf2,
    kSetTypematic = 0xf3,
    kEnable = 0xf4,
    kDefaultAndDisable = 0xf5,
    kSetDefault = 0xf6,
    kAllRepeat = 0xf7,
    kAllMakeAndBreak = 0xf8,
    kAllMake = 0xf9,
    kAllRepeatAndBreak = 0xfa,
    kKeyRepeats = 0xfb,
    kKeyMakesAndBreaks = 0xfc,
    kKeyMakes = 0xfd,
    kResendLast = 0xfe,
    kReset = 0xff
};
constexpr u8 kFirstCommand = kSetLeds;

constexpr u8 kBreak = 0xf0, kBreakBit = 0x80, kExtended = 0xe0, kExtended1 = 0xe1;
constexpr u8 kDefaultTypematic = 0x2b;  // 500 ms, then 10.9 a second
constexpr std::size_t kMostHeld = 128;  // more than there are keys

// Set 3's default types: shift keys tell of their release too; the right-hand and function keys don't repeat ("Scan
// code set 3", the column of types).
constexpr u8 kMakeAndBreak[] = {0x11, 0x12, 0x14, 0x19, 0x59};
constexpr u8 kMakeOnly[] = {0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x56, 0x5e, 0x57,
                            0x5f, 0x62, 0x08, 0x39, 0x58, 0x67, 0x6e, 0x6f, 0x65, 0x6d, 0x76, 0x6c, 0x6b,
                            0x69, 0x77, 0x75, 0x73, 0x72, 0x70, 0x7e, 0x7d, 0x74, 0x7a, 0x71, 0x84, 0x79};

bool is_control(Key key) { return key == Key::Control || key == Key::ControlRight; }
bool is_alt(Key key) { return key == Key::Alt || key == Key::AltRight; }
bool is_shift(Key key) { return key == Key::Shift || key == Key::ShiftRight; }

}  // namespace

Ps2Keyboard::Ps2Keyboard(Clock& clock) : clock_(clock), repeat_timer_(clock, [this] { repeat(); }) {
    Ps2Keyboard::reset();
}

void Ps2Keyboard::set_defaults() {
    clear_output();
    repeat_timer_.disarm();
    set_ = 2;
    typematic_ = kDefaultTypematic;
    pending_command_ = 0;
    overrun_ = false;
    set_all_types(kRepeats);
    for (u8 code : kMakeAndBreak) types_[code] = kBreaks;
    for (u8 code : kMakeOnly) types_[code] = 0;
}

void Ps2Keyboard::reset() {
    set_defaults();
    leds_ = 0;
    scanning_ = true;
    held_.clear();
}

// --- keys ----------------------------------------------------------------------------------------------------------

bool Ps2Keyboard::held(Key key) const { return std::find(held_.begin(), held_.end(), key) != held_.end(); }

void Ps2Keyboard::press(Key key) {
    if (held(key) || held_.size() >= kMostHeld) return;
    held_.push_back(key);
    if (!scanning_) return;
    send_codes(key, true);
    // The key pressed last repeats, Pause never.
    const bool repeats = set_ != 3 || (types_[set_3_code(key)] & kRepeats) != 0;
    repeat_timer_.disarm();
    if (repeats && key != Key::Pause) {
        repeating_ = key;
        repeat_timer_.arm(clock_.now() + repeat_delay());
    }
    tell();
}

void Ps2Keyboard::release(Key key) {
    if (std::erase(held_, key) == 0) return;
    if (repeat_timer_.armed() && repeating_ == key) repeat_timer_.disarm();
    if (!scanning_) return;
    send_codes(key, false);
    tell();
}

void Ps2Keyboard::repeat() {
    // Nothing is repeated into a full queue: what repeats must not cost the key that ends it.
    if (data_.room() > kQueue / 2) send_codes(repeating_, true);
    repeat_timer_.arm(clock_.now() + repeat_period());
    tell();
}

// "Set typematic rate/delay": bits 5 and 6 are the delay in 250 ms; the period is (8 + A) * 2^B * 4.17 ms, A being bits
// 0 to 2 and B bits 3 and 4.
Nanoseconds Ps2Keyboard::repeat_delay() const { return (1 + (typematic_ >> 5 & 3u)) * Nanoseconds{250'000'000}; }
Nanoseconds Ps2Keyboard::repeat_period() const {
    return (8 + (typematic_ & 7u)) * (Nanoseconds{4'170'000} << (typematic_ >> 3 & 3));
}

void Ps2Keyboard::send_codes(Key key, bool down) { queue(codes(key, down)); }

// What a key sends; nothing for some of them.
std::vector<u8> Ps2Keyboard::codes(Key key, bool down) const {
    std::vector<u8> sent;
    if (set_ == 3) {
        const u8 code = set_3_code(key);
        if (!down && (types_[code] & kBreaks) == 0) return sent;
        if (!down) sent.push_back(kBreak);
        sent.push_back(code);
        return sent;
    }
    const auto add = [&](u8 prefix, u8 code, bool make) {
        if (prefix != 0) sent.push_back(prefix);
        if (set_ == 1) {
            sent.push_back(static_cast<u8>(set_2_to_set_1(code) | (make ? 0 : kBreakBit)));
        } else {
            if (!make) sent.push_back(kBreak);
            sent.push_back(code);
        }
    };
    const bool control = std::any_of(held_.begin(), held_.end(), is_control);
    constexpr u8 kLeftShift = 0x12, kControl = 0x14, kPrint = 0x7c, kSystemRequest = 0x84, kNumLock = 0x77,
                 kStop = 0x7e;
    if (key == Key::Pause) {
        // All at once, and nothing when it is let go: Ctrl + Num Lock of the keyboard with 83 keys, or Break.
        if (!down) return sent;
        if (control) {
            add(kExtended, kStop, true);
            add(kExtended, kStop, false);
        } else {
            add(kExtended1, kControl, true);
            add(0, kNumLock, true);
            add(kExtended1, kControl, false);
            add(0, kNumLock, false);
        }
        return sent;
    }
    if (key == Key::PrintScreen) {
        // It was Shift + * there, and with Alt is a key of its own.
        if (std::any_of(held_.begin(), held_.end(), is_alt)) {
            add(0, kSystemRequest, down);
        } else if (control || std::any_of(held_.begin(), held_.end(), is_shift)) {
            add(kExtended, kPrint, down);
        } else {
            add(kExtended, down ? kLeftShift : kPrint, down);
            add(kExtended, down ? kPrint : kLeftShift, down);
        }
        return sent;
    }
    const auto code = static_cast<u16>(key);
    add(static_cast<u8>(code >> 8), static_cast<u8>(code), down);
    return sent;
}

// The 17th byte is the overrun code in place of what came, and what comes after it is lost ("Keyboard buffer").
void Ps2Keyboard::queue(std::span<const u8> codes) {
    if (data_.size() <= kQueue) overrun_ = false;
    if (overrun_) return;
    for (u8 code : codes) {
        if (data_.size() < kQueue) {
            data_.push(code);
            continue;
        }
        data_.push(set_ == 1 ? 0xff : 0x00);
        overrun_ = true;
        return;
    }
}

// --- commands ------------------------------------------------------------------------------------------------------

void Ps2Keyboard::take(u8 byte) {
    const u8 waiting = std::exchange(pending_command_, u8{0});
    // A command in place of a parameter is a command.
    if (waiting != 0 && byte < kFirstCommand) {
        parameter(waiting, byte);
    } else {
        command(byte);
    }
    tell();
}

void Ps2Keyboard::command(u8 byte) {
    switch (byte) {
        case kEcho: answer(kEcho); return;
        case kResendLast: answer(last_sent_); return;
        case kSetLeds:
        case kScanCodeSet:
        case kSetTypematic:
        case kKeyRepeats:
        case kKeyMakesAndBreaks:
        case kKeyMakes: pending_command_ = byte; break;
        case kIdentify:
            answer(kAcknowledge);
            answer(0xab);
            answer(0x83);
            return;
        case kEnable:
            data_.clear();
            scanning_ = true;
            break;
        case kDefaultAndDisable:
        case kSetDefault:
            set_defaults();
            scanning_ = scanning_ && byte == kSetDefault;
            break;
        case kAllRepeat: set_all_types(kRepeats); break;
        case kAllMakeAndBreak: set_all_types(kBreaks); break;
        case kAllMake: set_all_types(0); break;
        case kAllRepeatAndBreak: set_all_types(kRepeats | kBreaks); break;
        case kReset: {
            const std::vector<Key> fingers = std::move(held_);  // which no command lifts
            reset();
            held_ = fingers;
            answer(kAcknowledge);
            answer(kTestPassed);
            return;
        }
        default: answer(kResend); return;
    }
    answer(kAcknowledge);
}

void Ps2Keyboard::parameter(u8 command, u8 value) {
    switch (command) {
        case kSetLeds: leds_ = value & 7; break;
        case kSetTypematic: typematic_ = value & 0x7f; break;
        case kScanCodeSet:
            if (value > 3) {
                answer(kResend);
                return;
            }
            answer(kAcknowledge);
            if (value == 0) {
                answer(set_);
            } else {
                set_ = value;
                data_.clear();
            }
            return;
        default:
            if (value >= types_.size()) {
                answer(kResend);
                return;
            }
            types_[value] = 0;
            if (command == kKeyRepeats) types_[value] = kRepeats;
            if (command == kKeyMakesAndBreaks) types_[value] = kBreaks;
            break;
    }
    answer(kAcknowledge);
}

// --- snapshots -----------------------------------------------------------------------------------------------------

void Ps2Keyboard::save(ArchiveWriter& out) const {
    out.tag("PS2K", 1);
    save_output(out);
    out.put_bytes(types_.data(), types_.size());
    out.put(static_cast<u8>(held_.size()));
    for (Key key : held_) out.put(static_cast<u16>(key));
    out.put(static_cast<u16>(repeating_));
    for (u8 v : {set_, leds_, typematic_, pending_command_}) out.put(v);
    for (bool v : {scanning_, overrun_}) out.put(static_cast<u8>(v));
    put_deadline(out, clock_, repeat_timer_.deadline());
}

void Ps2Keyboard::load(ArchiveReader& in) {
    in.expect("PS2K", 1);
    load_output(in);
    in.get_bytes(types_.data(), types_.size());
    const u8 held = in.get<u8>();
    held_.clear();
    for (unsigned i = 0; i < held && in.ok(); ++i) held_.push_back(static_cast<Key>(in.get<u16>()));
    repeating_ = static_cast<Key>(in.get<u16>());
    for (u8* v : {&set_, &leds_, &typematic_, &pending_command_}) in.get(*v);
    for (bool* v : {&scanning_, &overrun_}) *v = in.get<u8>() != 0;
    const Nanoseconds deadline = get_deadline(in, clock_);
    if (set_ == 0 || set_ > 3 || held > kMostHeld) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    repeat_timer_.disarm();
    if (deadline != kNever) repeat_timer_.arm(deadline);
}

}  // namespace dualvm::devices
