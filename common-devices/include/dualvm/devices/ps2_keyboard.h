// PS/2 keyboard with 101 keys (IBM PS/2 Hardware Interface Technical Reference, "Keyboard"): scan code sets 1, 2 and 3,
// typematic repeat, a queue of 16 bytes with its overrun code, and all commands.
#pragma once

#include <span>
#include <vector>

#include "dualvm/clock.h"
#include "dualvm/devices/keys.h"
#include "dualvm/devices/ps2_device.h"

namespace dualvm::devices {

class Ps2Keyboard final : public Ps2Device {
public:
    explicit Ps2Keyboard(Clock& clock);

    // A finger. What does not fit into the queue is lost, as on the real one; see ready().
    void press(Key key);
    void release(Key key);
    // True if the guest has taken all that was pressed, and wants more.
    bool ready() const { return scanning_ && data_.empty() && !has_answers(); }
    bool scanning() const { return scanning_; }
    // Bit 0: Scroll Lock, 1: Num Lock, 2: Caps Lock.
    u8 leds() const { return leds_; }

    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    // In set 3 each key has a type: what it sends besides its make code.
    enum KeyType : u8 { kRepeats = 1, kBreaks = 2 };

    void take(u8 byte) override;
    void command(u8 byte);
    void parameter(u8 command, u8 value);
    void set_defaults();
    void set_all_types(u8 type) { types_.fill(type); }
    bool held(Key key) const;
    void send_codes(Key key, bool down);
    std::vector<u8> codes(Key key, bool down) const;
    void queue(std::span<const u8> codes);
    void repeat();
    Nanoseconds repeat_delay() const;
    Nanoseconds repeat_period() const;

    Clock& clock_;
    Timer repeat_timer_;
    std::array<u8, 0x90> types_{};  // by set 3's codes
    std::vector<Key> held_;         // in the order in which they were pressed
    Key repeating_{};               // while the timer is armed
    u8 set_ = 2, leds_ = 0, typematic_ = 0;
    u8 pending_command_ = 0;  // waits for its parameter
    bool scanning_ = true, overrun_ = false;
};

}  // namespace dualvm::devices
