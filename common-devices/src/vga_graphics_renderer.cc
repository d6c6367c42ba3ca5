#include "dualvm/devices/vga_renderer.h"
#include "vga_colours.h"
#include "vga_scan.h"

namespace dualvm::devices {

namespace {

// Eight dots of four planes, leftmost first: bit 7 of each plane's byte.
std::array<u8, 8> planar_dots(const std::array<u8, 4>& planes) {
    std::array<u8, 8> dots{};
    for (unsigned i = 0; i < 8; ++i) {
        unsigned value = 0;
        for (unsigned p = 0; p < 4; ++p) value |= (planes[p] >> (7 - i) & 1u) << p;
        dots[i] = static_cast<u8>(value);
    }
    return dots;
}

// CGA's four colours ("shift register mode 1" of the graphics controller): two bits a pixel in planes 0 and 1 one after
// the other, two more in planes 2 and 3.
std::array<u8, 8> paired_dots(const std::array<u8, 4>& planes) {
    std::array<u8, 8> dots{};
    for (unsigned i = 0; i < 8; ++i) {
        const unsigned plane = i / 4, shift = 6 - 2 * (i % 4);
        dots[i] = static_cast<u8>((planes[plane] >> shift & 3) | (planes[plane + 2] >> shift & 3) << 2);
    }
    return dots;
}

constexpr u8 widen(unsigned value, unsigned bits) {
    const unsigned top = value << (8 - bits);
    return static_cast<u8>(top | top >> bits);
}

// A pixel of 15 bits or more, from its bytes.
Rgb true_colour(const u8* p, unsigned bits) {
    const unsigned word = p[0] | unsigned{p[1]} << 8;
    switch (bits) {
        case 15: return {widen(word >> 10 & 31, 5), widen(word >> 5 & 31, 5), widen(word & 31, 5)};
        case 16: return {widen(word >> 11 & 31, 5), widen(word >> 5 & 63, 6), widen(word & 31, 5)};
        default: return {p[2], p[1], p[0]};
    }
}

}  // namespace

void VgaRenderer::draw_vga_graphics(Picture& to) const {
    const VgaScan scan(registers_);
    const unsigned shift = registers_.graphics(vga::kMode) >> 5 & 3;
    const bool bytes = shift >= 2;
    const auto sixteen = attribute_colours(registers_);
    const auto many = dac_colours(registers_);
    const unsigned enabled = registers_.attribute(vga::kPlaneEnable) & 0xf;
    PixelWriter out(to);
    for (unsigned y = 0; y < to.height; ++y) {
        const VgaScan::Line line = scan.line(y);
        for (unsigned column = 0; column <= scan.columns(); ++column) {
            const u64 at = line.address + column;
            const std::array<u8, 4> planes = {byte(at, 0), byte(at, 1), byte(at, 2), byte(at, 3)};
            const unsigned skipped = column == 0 ? line.panning : 0;
            if (bytes) {  // two dots each
                for (unsigned i = skipped / 2; i < 4; ++i) {
                    out.put(many[planes[i]]);
                    out.put(many[planes[i]]);
                }
                continue;
            }
            const auto dots = shift == 1 ? paired_dots(planes) : planar_dots(planes);
            for (unsigned i = skipped; i < 8; ++i) {
                for (unsigned n = 0; n < scan.dot_width(); ++n) out.put(sixteen[dots[i] & enabled]);
            }
        }
        out.next_line();
    }
}

void VgaRenderer::draw_planar_vbe(Picture& to) const {
    const auto colours = attribute_colours(registers_);
    const unsigned enabled = registers_.attribute(vga::kPlaneEnable) & 0xf;
    const u64 mask = memory_.size() - 1;
    PixelWriter out(to);
    for (unsigned y = 0; y < to.height; ++y) {
        // Four planes of a byte each are eight pixels.
        const u64 line = (dispi_.start() + u64{y} * dispi_.pitch()) & ~u64{3};
        for (u64 x = 0; x < to.width; x += 8) {
            const u8* p = &memory_[(line + x / 2) & mask];
            for (const u8 dot : planar_dots({p[0], p[1], p[2], p[3]})) out.put(colours[dot & enabled]);
        }
        out.next_line();
    }
}

void VgaRenderer::draw_packed_vbe(Picture& to) const {
    const unsigned bits = dispi_.bits(), pixel_bytes = (bits + 7) / 8;
    const auto colours = dac_colours(registers_);
    const u64 mask = memory_.size() - 1;
    PixelWriter out(to);
    for (unsigned y = 0; y < to.height; ++y) {
        const u64 line = dispi_.start() + u64{y} * dispi_.pitch();
        for (u64 x = 0; x < to.width; ++x) {
            std::array<u8, 4> pixel{};
            for (unsigned i = 0; i < pixel_bytes; ++i) pixel[i] = memory_[(line + x * pixel_bytes + i) & mask];
            out.put(bits == 8 ? colours[pixel[0]] : true_colour(pixel.data(), bits));
        }
        out.next_line();
    }
}

}  // namespace dualvm::devices
