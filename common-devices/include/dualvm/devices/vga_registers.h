// The VGA's register file behind ports 3B0h-3DFh (IBM VGA technical reference, "Registers"): sequencer, CRT controller,
// graphics controller, attribute controller, and the general registers.
#pragma once

#include <array>

#include "dualvm/clock.h"
#include "dualvm/devices/vga_dac.h"

namespace dualvm::devices {

// Indexes of registers.
namespace vga {
enum Sequencer : u8 { kClocking = 1, kMapMask = 2, kCharacterMap = 3, kMemoryMode = 4 };
enum Graphics : u8 {
    kSetReset = 0,
    kEnableSetReset = 1,
    kColorCompare = 2,
    kDataRotate = 3,
    kReadMap = 4,
    kMode = 5,
    kMiscellaneous = 6,
    kColorDontCare = 7,
    kBitMask = 8
};
enum Attribute : u8 {
    kModeControl = 0x10,
    kOverscan = 0x11,
    kPlaneEnable = 0x12,
    kPelPanning = 0x13,
    kColorSelect = 0x14
};
enum Crtc : u8 {
    kHorizontalTotal = 0x00,
    kHorizontalDisplayEnd = 0x01,
    kVerticalTotal = 0x06,
    kOverflow = 0x07,
    kPresetRowScan = 0x08,
    kMaximumScanLine = 0x09,
    kCursorStart = 0x0a,
    kCursorEnd = 0x0b,
    kStartHigh = 0x0c,
    kStartLow = 0x0d,
    kCursorHigh = 0x0e,
    kCursorLow = 0x0f,
    kVerticalRetraceStart = 0x10,
    kVerticalRetraceEnd = 0x11,
    kVerticalDisplayEnd = 0x12,
    kOffset = 0x13,
    kUnderline = 0x14,
    kModeOfCrtc = 0x17,
    kLineCompare = 0x18
};
}  // namespace vga

class VgaRegisters {
public:
    static constexpr unsigned kFirstPort = 0x3b0, kPortCount = 0x30;

    // Power-on: all 0, and nothing is shown.
    void reset();
    // As the BIOS leaves them: mode 3, 80 x 25 characters.
    void enter_text_mode();
    // What the adapter does to them when a VBE mode is entered, so that they fit it: for `bits` 4 planes, else a line
    // of pixels after the other, `pitch` bytes each.
    void enter_vbe_mode(unsigned width, unsigned height, unsigned bits, unsigned pitch);

    u8 read(unsigned port, Nanoseconds now);
    void write(unsigned port, u8 value);

    u8 sequencer(vga::Sequencer index) const { return sequencer_[index]; }
    u8 graphics(vga::Graphics index) const { return graphics_[index]; }
    u8 attribute(unsigned index) const { return attribute_[index]; }
    u8 crtc(vga::Crtc index) const { return crtc_[index]; }
    u8 miscellaneous() const { return misc_; }
    // The screen shows something (attribute address register, "palette address source").
    bool shows() const { return (attribute_index_ & 0x20) != 0; }
    bool graphics_mode() const { return (graphics_[vga::kMiscellaneous] & 1) != 0; }

    const VgaDac& dac() const { return dac_; }
    VgaDac& dac() { return dac_; }

    void save(ArchiveWriter& out) const;
    void load(ArchiveReader& in);

private:
    void write_attribute(u8 value);
    void write_crtc(u8 value);
    u8 status(Nanoseconds now) const;

    std::array<u8, 8> sequencer_{};
    std::array<u8, 16> graphics_{};
    std::array<u8, 32> attribute_{};
    std::array<u8, 256> crtc_{};
    u8 sequencer_index_ = 0, graphics_index_ = 0, attribute_index_ = 0, crtc_index_ = 0, misc_ = 0, feature_ = 0;
    bool attribute_data_next_ = false;
    VgaDac dac_;
};

}  // namespace dualvm::devices
