// How the CRT controller goes through memory, line by line.
#pragma once

#include "dualvm/devices/vga_registers.h"

namespace dualvm::devices {

class VgaScan {
public:
    explicit VgaScan(const VgaRegisters& registers);

    struct Line {
        u32 address = 0;        // of the first character or byte, within a plane
        unsigned row_scan = 0;  // line within the row of characters
        unsigned panning = 0;   // dots by which all moves to the left
    };
    Line line(unsigned y) const;

    unsigned columns() const { return columns_; }  // of 8 or 9 dots
    unsigned lines() const { return lines_; }
    unsigned row_height() const { return row_height_; }
    unsigned repeats() const { return repeats_; }  // 2 in double scan
    bool nine_dots() const { return nine_dots_; }
    unsigned dot_width() const { return dot_width_; }  // 2 where the dot clock is halved
    // The lines of a row lie in different parts of memory, as CGA has them.
    bool interleaved() const { return interleave0_ || interleave1_; }

private:
    unsigned columns_, lines_, row_height_, repeats_, dot_width_;
    u32 start_, offset_, line_compare_;
    unsigned preset_row_scan_, byte_panning_, panning_;
    bool split_keeps_still_, nine_dots_, interleave0_, interleave1_, byte_mode_;
};

}  // namespace dualvm::devices
