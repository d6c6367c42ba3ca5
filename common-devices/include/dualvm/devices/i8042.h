// 8042 keyboard controller (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and auxiliary device
// controller"): ports 60h and 64h, IRQ 1 and IRQ 12, the A20 gate, the reset pulse, and at its two connectors a
// keyboard and a mouse.
//
// Answers to commands are there at once: guests count how often they look, and give up. What a device sends by itself
// (keys, movement) takes its time on the cable, so that a second read of port 60h still gives the same key.
#pragma once

#include "dualvm/devices/ps2_keyboard.h"
#include "dualvm/devices/ps2_mouse.h"
#include "dualvm/irq_line.h"
#include "dualvm/machine.h"

namespace dualvm::devices {

class I8042 final : public Device {
public:
    // As it is at power-on, or as a BIOS leaves it: most guests here start without one.
    enum class AfterReset : u8 { PowerOn, BiosDone };
    I8042(Machine& machine, IrqLine irq1, IrqLine irq12, AfterReset after_reset);

    static constexpr u64 kData = 0, kCommand = 1;  // offsets of ports 60h and 64h
    // Eleven bits at 12.5 kHz ("System timing": 10 to 16.7 kHz).
    static constexpr Nanoseconds kByteTime = 880'000;

    Ps2Keyboard& keyboard() { return keyboard_; }
    Ps2Mouse& mouse() { return mouse_; }
    // True if the guest has taken every key so far, and wants more.
    bool keys_welcome() const;

    const char* name() const override { return "i8042"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    // Whose byte is in the output buffer.
    enum class Source : u8 { Nobody, Keyboard, Mouse };

    void power_on_state();
    void command(u8 value);
    void data(u8 value);
    void put(u8 value, Source source);
    void answer(u8 value, Source source = Source::Keyboard);
    u8 status() const;
    u8 read_data();
    u8 output_port() const;
    void set_output_port(u8 value);
    bool connected(Source source) const;
    Ps2Device& device(Source source);
    bool take_from(Source source);
    void fill();
    void byte_arrived();
    void update_interrupts();

    Machine& machine_;
    IrqLine irq1_, irq12_;
    AfterReset after_reset_;
    Ps2Keyboard keyboard_;
    Ps2Mouse mouse_;
    Timer cable_;               // a byte is on its way
    std::array<u8, 32> ram_{};  // the first is the command byte
    u8 output_ = 0, pending_command_ = 0;
    Source full_ = Source::Nobody;
    u8 own_ = 0;  // what the controller itself has to say, while own_for_ says as whose byte
    Source own_for_ = Source::Nobody;
    bool last_was_command_ = false;
    bool break_ = false;  // F0h has been taken: the code that follows is of a key let go
};

}  // namespace dualvm::devices
