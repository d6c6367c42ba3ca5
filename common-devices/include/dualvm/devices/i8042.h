// 8042 keyboard controller (PC/AT technical reference, "Keyboard controller") without a keyboard: self-test, command
// byte, output port (A20) and the reset pulse. Nothing ever comes from the keyboard, and it answers no command.
#pragma once

#include "dualvm/machine.h"

namespace dualvm::devices {

class I8042 final : public Device {
public:
    explicit I8042(Machine& machine) : machine_(machine) { I8042::reset(); }
    const char* name() const override { return "i8042"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    void command(u8 value);
    void data(u8 value);
    void answer(u8 value);
    u8 output_port() const;
    void set_output_port(u8 value);

    Machine& machine_;
    u8 command_byte_ = 0;
    u8 output_ = 0;
    u8 pending_command_ = 0;  // waits for its data byte
    bool output_full_ = false, last_was_command_ = false;
};

}  // namespace dualvm::devices
