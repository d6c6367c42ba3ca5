#include "vga_scan.h"

namespace dualvm::devices {

VgaScan::VgaScan(const VgaRegisters& r) {
    using namespace vga;
    const unsigned overflow = r.crtc(kOverflow), maximum = r.crtc(kMaximumScanLine);
    columns_ = r.crtc(kHorizontalDisplayEnd) + 1u;
    lines_ = (r.crtc(kVerticalDisplayEnd) | (overflow & 0x02) << 7 | (overflow & 0x40) << 3) + 1;
    row_height_ = (maximum & 0x1f) + 1;
    repeats_ = (maximum & 0x80) != 0 ? 2 : 1;
    dot_width_ = (r.sequencer(kClocking) & 8) != 0 ? 2 : 1;
    nine_dots_ = (r.sequencer(kClocking) & 1) == 0;
    start_ = unsigned{r.crtc(kStartHigh)} << 8 | r.crtc(kStartLow);
    offset_ = r.crtc(kOffset) * 2u;
    line_compare_ = r.crtc(kLineCompare) | (overflow & 0x10) << 4 | (maximum & 0x40) << 3;
    preset_row_scan_ = r.crtc(kPresetRowScan) & 0x1f;
    byte_panning_ = r.crtc(kPresetRowScan) >> 5 & 3;
    panning_ = r.attribute(kPelPanning) & 0xf;
    // Characters of nine dots count 8, 0, 1 ... 7; eight is none (attribute controller, "Horizontal PEL panning").
    if (nine_dots_ && !r.graphics_mode()) {
        panning_ = panning_ >= 8 ? 0 : panning_ + 1;
    } else {
        panning_ &= 7;
    }
    split_keeps_still_ = (r.attribute(kModeControl) & 0x20) != 0;
    const unsigned mode = r.crtc(kModeOfCrtc);
    interleave0_ = (mode & 1) == 0;
    interleave1_ = (mode & 2) == 0;
    byte_mode_ = (mode & 0x40) != 0;
}

// Behind the line that line compare names, the screen starts anew at address 0. Addresses count characters (or groups
// of eight dots): the shifts of word and doubleword mode are those of odd/even and chain-4 addresses, which this memory
// does not have (vga_memory.h). So the bit that CGA's line banks change, 13 of an address in byte mode, is 12 in word
// mode.
VgaScan::Line VgaScan::line(unsigned y) const {
    const bool split = y > line_compare_;
    const bool still = split && split_keeps_still_;
    const unsigned scan = split ? (y - line_compare_ - 1) / repeats_ : y / repeats_ + preset_row_scan_;
    Line line;
    line.row_scan = scan % row_height_;
    line.panning = still ? 0 : panning_;
    line.address = (split ? 0 : start_) + (still ? 0 : byte_panning_) + scan / row_height_ * offset_;
    const unsigned bit = byte_mode_ ? 13 : 12;
    const auto replace = [&line](unsigned at, unsigned value) {
        line.address = (line.address & ~(1u << at)) | (value & 1) << at;
    };
    if (interleave0_) replace(bit, line.row_scan);
    if (interleave1_) replace(bit + 1, line.row_scan >> 1);
    return line;
}

}  // namespace dualvm::devices
