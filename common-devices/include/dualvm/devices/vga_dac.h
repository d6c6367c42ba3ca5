// The VGA's palette: 256 colours in a RAM behind ports 3C6h-3C9h (IBM VGA technical reference, "Video
// digital-to-analog converter").
#pragma once

#include <array>

#include "dualvm/archive.h"

namespace dualvm::devices {

struct Rgb {
    u8 red = 0, green = 0, blue = 0;
    bool operator==(const Rgb&) const = default;
};

class VgaDac {
public:
    void reset();
    // The 64 colours that the BIOS loads for text: EGA's, each of red, green and blue in four steps.
    void load_ega_colours();

    void set_mask(u8 mask) { mask_ = mask; }
    u8 mask() const { return mask_; }
    // The next colour to be read, or to be written.
    void select_read(u8 colour);
    void select_write(u8 colour);
    // 0: the last selection was to write, 3: to read.
    u8 state() const { return reading_ ? 3 : 0; }
    u8 write_index() const { return write_index_; }
    // Red, green and blue in turns; a written colour is taken over as the third comes.
    u8 read_data();
    void write_data(u8 value);

    // Components of 8 bits instead of VGA's 6 (VBE's switch, function 4F08h).
    void set_eight_bits(bool on) { eight_bits_ = on; }
    bool eight_bits() const { return eight_bits_; }

    // What a pixel of this value is shown as.
    Rgb colour(u8 pixel) const;

    void save(ArchiveWriter& out) const;
    void load(ArchiveReader& in);

private:
    std::array<u8, 768> components_{};
    std::array<u8, 3> latched_{};
    u8 mask_ = 0xff, read_index_ = 0, write_index_ = 0, component_ = 0;
    bool reading_ = false, eight_bits_ = false;
};

}  // namespace dualvm::devices
