// PS/2 mouse (IBM PS/2 Hardware Interface Technical Reference, "Mouse"), with the wheel and the two further buttons of
// Microsoft's IntelliMouse and IntelliMouse Explorer for who knows how to ask for them.
#pragma once

#include "dualvm/clock.h"
#include "dualvm/devices/ps2_device.h"

namespace dualvm::devices {

class Ps2Mouse final : public Ps2Device {
public:
    explicit Ps2Mouse(Clock& clock);

    enum Button : u8 { kLeft = 1, kRight = 2, kMiddle = 4, kFourth = 8, kFifth = 16 };
    // A hand: counts to the right and up, wheel clicks towards it.
    void move(int right, int up, int wheel = 0);
    void set_buttons(u8 buttons);
    bool reporting() const { return enabled_; }

    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    void take(u8 byte) override;
    void command(u8 byte);
    void parameter(u8 command, u8 value);
    void set_defaults();
    void set_rate(u8 rate);
    void set_remote(bool remote);
    void forget_movement() { x_ = y_ = wheel_ = 0; }
    bool changed() const { return x_ != 0 || y_ != 0 || wheel_ != 0 || buttons_ != told_buttons_; }
    std::size_t packet_size() const { return id_ == 0 ? 3 : 4; }
    template <class Put>
    void make_packet(bool scaled, Put put);
    void report();

    Clock& clock_;
    Timer sample_;                       // armed for a sample's time after each report
    i32 x_ = 0, y_ = 0, wheel_ = 0;      // moved since the last report
    u8 buttons_ = 0, told_buttons_ = 0;  // now, and in the last report
    u8 rate_ = 100, resolution_ = 2, id_ = 0;
    u8 pending_command_ = 0;
    std::array<u8, 2> last_rates_{};  // set before the present one: three in a row are a magic word
    bool enabled_ = false, remote_ = false, wrap_ = false, double_scale_ = false;
};

}  // namespace dualvm::devices
