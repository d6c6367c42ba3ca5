// What the parts of the renderer share: the attribute controller's colours, and where pixels go.
#pragma once

#include <array>

#include "dualvm/devices/picture.h"
#include "dualvm/devices/vga_registers.h"

namespace dualvm::devices {

// The colours of the attribute controller's sixteen values: its palette registers hold six bits of the DAC's eight; the
// colour select register has the rest, and replaces bits 4 and 5 if the mode control register says so.
inline std::array<Rgb, 16> attribute_colours(const VgaRegisters& r) {
    std::array<Rgb, 16> colours;
    const unsigned select = r.attribute(vga::kColorSelect);
    const bool replaces = (r.attribute(vga::kModeControl) & 0x80) != 0;
    for (unsigned i = 0; i < colours.size(); ++i) {
        const unsigned entry = r.attribute(i);
        const unsigned value = replaces ? (select & 0xf) << 4 | (entry & 0xf) : (select & 0xc) << 4 | (entry & 0x3f);
        colours[i] = r.dac().colour(static_cast<u8>(value));
    }
    return colours;
}

inline std::array<Rgb, 256> dac_colours(const VgaRegisters& r) {
    std::array<Rgb, 256> colours;
    for (unsigned i = 0; i < colours.size(); ++i) colours[i] = r.dac().colour(static_cast<u8>(i));
    return colours;
}

// Writes pixels from left to right; what is more than a line holds is dropped.
class PixelWriter {
public:
    explicit PixelWriter(Picture& to) : to_(to.rgb.data()), line_bytes_(std::size_t{to.width} * 3) {}
    bool line_full() const { return at_ == line_bytes_; }
    void put(const Rgb& colour) {
        if (line_full()) return;
        to_[at_] = colour.red;
        to_[at_ + 1] = colour.green;
        to_[at_ + 2] = colour.blue;
        at_ += 3;
    }
    void next_line() {
        to_ += line_bytes_;
        at_ = 0;
    }

private:
    u8* to_;
    std::size_t line_bytes_, at_ = 0;
};

}  // namespace dualvm::devices
