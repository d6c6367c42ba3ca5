#include "dualvm/devices/i8042.h"

#include <algorithm>
#include <utility>

#include "saved_time.h"

namespace dualvm::devices {

namespace {

enum : u8 {
    kStatusOutputFull = 1,
    kStatusSystem = 4,
    kStatusCommand = 8,
    kStatusUnlocked = 0x10,
    kStatusMouseOutput = 0x20
};
enum : u8 {
    kReadRam = 0x20,  // to 3Fh; the first is the command byte
    kWriteRam = 0x60,
    kTestPassword = 0xa4,
    kDisableMouse = 0xa7,
    kEnableMouse = 0xa8,
    kTestMouse = 0xa9,
    kSelfTest = 0xaa,
    kTestKeyboard = 0xab,
    kDisableKeyboard = 0xad,
    kEnableKeyboard = 0xae,
    kReadInputPort = 0xc0,
    kReadOutputPort = 0xd0,
    kWriteOutputPort = 0xd1,
    kWriteKeyboardOutput = 0xd2,
    kWriteMouseOutput = 0xd3,
    kWriteMouse = 0xd4,
    kDisableA20 = 0xdd,
    kEnableA20 = 0xdf,
    kReadTestInputs = 0xe0,
    kPulse = 0xf0
};
enum : u8 {
    kOutputNoReset = 1,
    kOutputA20 = 2,
    kOutputKeyboardFull = 0x10,
    kOutputMouseFull = 0x20,
    kOutputIdle = 0xcc
};
enum : u8 {
    kKeyboardInterrupt = 1,
    kMouseInterrupt = 2,
    kSystem = 4,
    kKeyboardOff = 0x10,
    kMouseOff = 0x20,
    kTranslate = 0x40
};

constexpr u8 kBreak = 0xf0, kBreakBit = 0x80;
constexpr u8 kNoPassword = 0xf1;
constexpr u8 kInputPort = 0x80;  // bit 7: the keyboard is not locked

}  // namespace

I8042::I8042(Machine& machine, IrqLine irq1, IrqLine irq12, AfterReset after_reset)
    : machine_(machine),
      irq1_(std::move(irq1)),
      irq12_(std::move(irq12)),
      after_reset_(after_reset),
      keyboard_(machine.clock()),
      mouse_(machine.clock()),
      cable_(machine.clock(), [this] { byte_arrived(); }) {
    keyboard_.on_output([this] { fill(); });
    mouse_.on_output([this] { fill(); });
    power_on_state();
}

void I8042::power_on_state() {
    ram_ = {};
    ram_[0] = after_reset_ == AfterReset::PowerOn ? kKeyboardOff | kMouseOff
                                                  : kKeyboardInterrupt | kSystem | kMouseOff | kTranslate;
    output_ = pending_command_ = own_ = 0;
    full_ = own_for_ = Source::Nobody;
    last_was_command_ = break_ = false;
    cable_.disarm();
}

void I8042::reset() {
    keyboard_.reset();
    mouse_.reset();
    power_on_state();
    update_interrupts();
}

// --- the output buffer ---------------------------------------------------------------------------------------------

bool I8042::connected(Source source) const {
    return (ram_[0] & (source == Source::Keyboard ? kKeyboardOff : kMouseOff)) == 0;
}

Ps2Device& I8042::device(Source source) {
    if (source == Source::Keyboard) return keyboard_;
    return mouse_;
}

bool I8042::keys_welcome() const { return connected(Source::Keyboard) && keyboard_.ready(); }

void I8042::put(u8 value, Source source) {
    output_ = value;
    full_ = source;
    update_interrupts();
}

// A byte of the controller's own. What is in the buffer is not lost for it: it waits until that has been read.
void I8042::answer(u8 value, Source source) {
    own_ = value;
    own_for_ = source;
    fill();
}

// Moves a device's next byte into the buffer. False if it was the first of a break code, which translation makes one
// of.
bool I8042::take_from(Source source) {
    const bool is_answer = device(source).has_answers();
    u8 byte = device(source).send();
    if (source == Source::Keyboard && (ram_[0] & kTranslate) != 0) {
        if (byte == kBreak) {
            break_ = true;
            return false;
        }
        // An answer may come between F0h and the code.
        const bool ends_break = !is_answer && std::exchange(break_, false);
        byte = static_cast<u8>(set_2_to_set_1(byte) | (ends_break ? kBreakBit : 0));
    }
    put(byte, source);
    return true;
}

// Called whenever the buffer may be empty, or a device may have something for it. The controller itself goes first,
// then the keyboard.
void I8042::fill() {
    if (!keyboard_.has_data()) break_ = false;  // a command has made the keyboard forget the code
    if (full_ != Source::Nobody) return;
    if (own_for_ != Source::Nobody) return put(own_, std::exchange(own_for_, Source::Nobody));
    bool data = false;
    for (Source source : {Source::Keyboard, Source::Mouse}) {
        if (!connected(source)) continue;
        while (device(source).has_answers()) {
            if (take_from(source)) return;
        }
        data = data || device(source).has_data();
    }
    if (!data) {
        cable_.disarm();
    } else if (!cable_.armed()) {
        cable_.arm(machine_.clock().now() + kByteTime);
    }
}

void I8042::byte_arrived() {
    if (full_ != Source::Nobody) return;
    for (Source source : {Source::Keyboard, Source::Mouse}) {
        if (connected(source) && device(source).has_data()) {
            if (take_from(source)) return;
            break;
        }
    }
    fill();
}

void I8042::update_interrupts() {
    // A byte from the controller itself counts as the keyboard's; nothing of it interrupts while it is off.
    const bool keyboard = full_ == Source::Keyboard && (ram_[0] & kKeyboardInterrupt) != 0 && connected(full_);
    irq1_.set(keyboard);
    irq12_.set(full_ == Source::Mouse && (ram_[0] & kMouseInterrupt) != 0);
}

// --- ports ---------------------------------------------------------------------------------------------------------

u8 I8042::output_port() const {
    return static_cast<u8>(kOutputIdle | kOutputNoReset | (full_ == Source::Keyboard ? kOutputKeyboardFull : 0) |
                           (full_ == Source::Mouse ? kOutputMouseFull : 0) |
                           (machine_.vmem().a20_open() ? kOutputA20 : 0));
}

void I8042::set_output_port(u8 value) {
    machine_.vmem().set_a20((value & kOutputA20) != 0);
    if ((value & kOutputNoReset) == 0) machine_.request({.kind = RequestKind::Reset});
}

void I8042::command(u8 value) {
    pending_command_ = 0;
    switch (value) {
        case kWriteOutputPort:
        case kWriteKeyboardOutput:
        case kWriteMouseOutput:
        case kWriteMouse: pending_command_ = value; break;
        case kTestPassword: answer(kNoPassword); break;
        case kDisableMouse: ram_[0] |= kMouseOff; break;
        case kEnableMouse: ram_[0] &= static_cast<u8>(~kMouseOff); break;
        case kDisableKeyboard: ram_[0] |= kKeyboardOff; break;
        case kEnableKeyboard: ram_[0] &= static_cast<u8>(~kKeyboardOff); break;
        case kSelfTest:
            ram_[0] |= kSystem;
            answer(0x55);
            break;
        case kTestKeyboard:
        case kTestMouse: answer(0); break;
        case kReadInputPort: answer(kInputPort); break;
        case kReadOutputPort: answer(output_port()); break;
        case kReadTestInputs: answer(0); break;
        case kDisableA20: machine_.vmem().set_a20(false); break;
        case kEnableA20: machine_.vmem().set_a20(true); break;
        default:
            if (value >= kReadRam && value < kReadRam + ram_.size()) {
                answer(ram_[value - kReadRam]);
            } else if (value >= kWriteRam && value < kWriteRam + ram_.size()) {
                pending_command_ = value;
            } else if (value >= kPulse && (value & kOutputNoReset) == 0) {
                // F0h-FFh pulse the output port's bits that are 0; bit 0 is the CPU's reset.
                machine_.request({.kind = RequestKind::Reset});
            }
            break;
    }
    update_interrupts();
    fill();
}

void I8042::data(u8 value) {
    const u8 waiting = std::exchange(pending_command_, u8{0});
    switch (waiting) {
        case 0:
            // Speaking to a device switches its cable on ("Command byte", bits 4 and 5).
            ram_[0] &= static_cast<u8>(~kKeyboardOff);
            keyboard_.receive(value);
            break;
        case kWriteMouse:
            ram_[0] &= static_cast<u8>(~kMouseOff);
            mouse_.receive(value);
            break;
        case kWriteOutputPort: set_output_port(value); break;
        case kWriteKeyboardOutput: answer(value); break;
        case kWriteMouseOutput: answer(value, Source::Mouse); break;
        default: ram_[waiting - kWriteRam] = value; break;
    }
    update_interrupts();
    fill();
}

u8 I8042::status() const {
    return static_cast<u8>((full_ != Source::Nobody ? kStatusOutputFull : 0) |
                           (full_ == Source::Mouse ? kStatusMouseOutput : 0) | (ram_[0] & kStatusSystem) |
                           (last_was_command_ ? kStatusCommand : 0) | kStatusUnlocked);
}

// An empty buffer gives what was in it last.
u8 I8042::read_data() {
    const u8 value = output_;
    full_ = Source::Nobody;
    update_interrupts();  // before the next byte's edge
    fill();
    return value;
}

u64 I8042::read(u64 offset, unsigned) { return offset == kData ? read_data() : status(); }

void I8042::write(u64 offset, unsigned, u64 value) {
    last_was_command_ = offset != kData;
    if (offset == kData) {
        data(static_cast<u8>(value));
    } else {
        command(static_cast<u8>(value));
    }
}

// --- snapshots -----------------------------------------------------------------------------------------------------

void I8042::save(ArchiveWriter& out) const {
    out.tag("8042", 3);
    keyboard_.save(out);
    mouse_.save(out);
    out.put_bytes(ram_.data(), ram_.size());
    for (u8 v : {output_, pending_command_, own_, static_cast<u8>(full_), static_cast<u8>(own_for_)}) out.put(v);
    for (bool v : {last_was_command_, break_}) out.put(static_cast<u8>(v));
    put_deadline(out, machine_.clock(), cable_.deadline());
}

void I8042::load(ArchiveReader& in) {
    in.expect("8042", 3);
    keyboard_.load(in);
    mouse_.load(in);
    in.get_bytes(ram_.data(), ram_.size());
    u8 full = 0, own_for = 0;
    for (u8* v : {&output_, &pending_command_, &own_, &full, &own_for}) in.get(*v);
    for (bool* v : {&last_was_command_, &break_}) *v = in.get<u8>() != 0;
    const Nanoseconds deadline = get_deadline(in, machine_.clock());
    const u8 p = pending_command_;
    const bool known =
        p == 0 || (p >= kWriteOutputPort && p <= kWriteMouse) || (p >= kWriteRam && p < kWriteRam + ram_.size());
    if (std::max(full, own_for) > static_cast<u8>(Source::Mouse) || !known) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    full_ = static_cast<Source>(full);
    own_for_ = static_cast<Source>(own_for);
    cable_.disarm();
    if (deadline != kNever) cable_.arm(deadline);
    update_interrupts();
}

}  // namespace dualvm::devices
