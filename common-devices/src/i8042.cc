#include "dualvm/devices/i8042.h"

namespace dualvm::devices {

namespace {

enum : u8 { kStatusOutputFull = 1, kStatusSystem = 4, kStatusCommand = 8, kStatusUnlocked = 0x10 };
enum : u8 {
    kReadCommandByte = 0x20,
    kWriteCommandByte = 0x60,
    kDisableAux = 0xa7,
    kEnableAux = 0xa8,
    kTestAux = 0xa9,
    kSelfTest = 0xaa,
    kTestKeyboard = 0xab,
    kDisableKeyboard = 0xad,
    kEnableKeyboard = 0xae,
    kReadInput = 0xc0,
    kReadOutputPort = 0xd0,
    kWriteOutputPort = 0xd1,
    kDisableA20 = 0xdd,
    kEnableA20 = 0xdf,
    kPulse = 0xf0
};
enum : u8 { kOutputNoReset = 1, kOutputA20 = 2, kOutputFull = 0x10, kOutputIdle = 0xcc };
enum : u8 {
    kCommandKeyboardIrq = 1,
    kCommandSystem = 4,
    kCommandNoKeyboard = 0x10,
    kCommandNoAux = 0x20,
    kCommandTranslate = 0x40
};

}  // namespace

void I8042::reset() {
    // As a BIOS leaves it: most guests here start without one.
    command_byte_ = kCommandKeyboardIrq | kCommandSystem | kCommandNoAux | kCommandTranslate;
    output_ = pending_command_ = 0;
    output_full_ = last_was_command_ = false;
}

void I8042::answer(u8 value) {
    output_ = value;
    output_full_ = true;
}

u8 I8042::output_port() const {
    return static_cast<u8>(kOutputIdle | kOutputNoReset | (output_full_ ? kOutputFull : 0) |
                           (machine_.vmem().a20_open() ? kOutputA20 : 0));
}

void I8042::set_output_port(u8 value) {
    machine_.vmem().set_a20((value & kOutputA20) != 0);
    if ((value & kOutputNoReset) == 0) machine_.request({.kind = RequestKind::Reset});
}

void I8042::command(u8 value) {
    pending_command_ = 0;
    switch (value) {
        case kReadCommandByte: answer(command_byte_); break;
        case kWriteCommandByte:
        case kWriteOutputPort: pending_command_ = value; break;
        case kDisableAux: command_byte_ |= kCommandNoAux; break;
        case kEnableAux: command_byte_ &= static_cast<u8>(~kCommandNoAux); break;
        case kDisableKeyboard: command_byte_ |= kCommandNoKeyboard; break;
        case kEnableKeyboard: command_byte_ &= static_cast<u8>(~kCommandNoKeyboard); break;
        case kSelfTest:
            command_byte_ |= kCommandSystem;
            answer(0x55);
            break;
        case kTestKeyboard: answer(0); break;
        case kTestAux: answer(2); break;  // no such port: its clock line is stuck
        case kReadInput: answer(0x80); break;
        case kReadOutputPort: answer(output_port()); break;
        case kDisableA20: machine_.vmem().set_a20(false); break;
        case kEnableA20: machine_.vmem().set_a20(true); break;
        default:
            // F0h-FFh pulse the output port's bits that are 0; bit 0 is the CPU's reset.
            if (value >= kPulse && (value & kOutputNoReset) == 0) machine_.request({.kind = RequestKind::Reset});
            break;
    }
}

void I8042::data(u8 value) {
    switch (pending_command_) {
        case kWriteCommandByte: command_byte_ = value; break;
        case kWriteOutputPort: set_output_port(value); break;
        default: break;  // for a keyboard that is not there: nobody answers
    }
    pending_command_ = 0;
}

u64 I8042::read(u64 offset, unsigned) {
    if (offset == 0) {
        output_full_ = false;
        return output_;
    }
    return static_cast<u64>((output_full_ ? kStatusOutputFull : 0) | (command_byte_ & kStatusSystem) |
                            (last_was_command_ ? kStatusCommand : 0) | kStatusUnlocked);
}

void I8042::write(u64 offset, unsigned, u64 value) {
    last_was_command_ = offset != 0;
    if (offset == 0) {
        data(static_cast<u8>(value));
    } else {
        command(static_cast<u8>(value));
    }
}

void I8042::save(ArchiveWriter& out) const {
    out.tag("8042", 1);
    for (u8 v : {command_byte_, output_, pending_command_}) out.put(v);
    for (bool v : {output_full_, last_was_command_}) out.put(static_cast<u8>(v));
}

void I8042::load(ArchiveReader& in) {
    in.expect("8042", 1);
    for (u8* v : {&command_byte_, &output_, &pending_command_}) in.get(*v);
    for (bool* v : {&output_full_, &last_was_command_}) *v = in.get<u8>() != 0;
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices
