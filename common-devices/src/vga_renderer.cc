#include "dualvm/devices/vga_renderer.h"

#include <array>

#include "vga_colours.h"
#include "vga_scan.h"

namespace dualvm::devices {

// VGA's own modes see 256 KiB, 64 KiB a plane.
u8 VgaRenderer::byte(u64 offset, unsigned plane) const { return memory_[(offset & 0xffff) * 4 + plane]; }

Screen VgaRenderer::screen() const {
    Screen screen;
    if (!registers_.shows()) return screen;
    if (dispi_.on()) {
        screen.kind = Screen::Kind::Graphics;
        screen.width = dispi_.width();
        screen.height = dispi_.height();
        screen.bits_per_pixel = dispi_.bits();
        return screen;
    }
    const VgaScan scan(registers_);
    if (registers_.graphics_mode()) {
        const unsigned shift = registers_.graphics(vga::kMode) >> 5 & 3;
        const bool one_plane = (registers_.attribute(vga::kPlaneEnable) & 0xf) == 1;
        screen.kind = Screen::Kind::Graphics;
        screen.width = scan.columns() * (shift >= 2 ? 4 : 8);
        screen.height = scan.lines() / scan.repeats() / (scan.interleaved() ? 1 : scan.row_height());
        screen.bits_per_pixel = shift >= 2 ? 8 : shift == 1 ? 2 : one_plane ? 1 : 4;
        return screen;
    }
    screen.kind = Screen::Kind::Text;
    screen.columns = scan.columns();
    screen.rows = scan.lines() / scan.repeats() / scan.row_height();
    screen.width = screen.columns * (scan.nine_dots() ? 9 : 8) * scan.dot_width();
    screen.height = scan.lines();
    screen.blinks = (registers_.attribute(vga::kModeControl) & 8) != 0;
    screen.cursor.visible = false;
    const u32 cursor = u32{registers_.crtc(vga::kCursorHigh)} << 8 | registers_.crtc(vga::kCursorLow);
    const unsigned first = registers_.crtc(vga::kCursorStart), last = registers_.crtc(vga::kCursorEnd) & 0x1f;
    for (unsigned row = 0; row < screen.rows; ++row) {
        const u32 address = scan.line(row * scan.row_height() * scan.repeats()).address;
        for (unsigned column = 0; column < screen.columns; ++column) {
            const u32 at = (address + column) & 0xffff;
            screen.cells.push_back({byte(at, 0), byte(at, 1)});
            if (at != cursor) continue;
            const bool visible = (first & 0x20) == 0 && (first & 0x1f) <= last && (first & 0x1f) < scan.row_height();
            screen.cursor = {.row = row, .column = column, .visible = visible};
        }
    }
    return screen;
}

Picture VgaRenderer::picture(BlinkPhase phase) const {
    Picture picture;
    if (!registers_.shows()) return picture;
    const auto make = [&picture](unsigned width, unsigned height) {
        picture.width = width;
        picture.height = height;
        picture.rgb.resize(std::size_t{width} * height * 3);
    };
    if (dispi_.on()) {
        make(dispi_.width(), dispi_.height());
        dispi_.bits() == 4 ? draw_planar_vbe(picture) : draw_packed_vbe(picture);
        return picture;
    }
    const VgaScan scan(registers_);
    if (registers_.graphics_mode()) {
        const bool bytes = (registers_.graphics(vga::kMode) & 0x40) != 0;  // each two dots wide, whatever the clock
        make(scan.columns() * 8 * (bytes ? 1 : scan.dot_width()), scan.lines());
        draw_vga_graphics(picture);
    } else {
        make(scan.columns() * (scan.nine_dots() ? 9 : 8) * scan.dot_width(), scan.lines());
        draw_text(picture, phase);
    }
    return picture;
}

namespace {

constexpr unsigned kBlinkAttribute = 0x80;

struct Glyph {
    unsigned dots = 0;  // the leftmost is bit 8
    Rgb foreground, background;
};

}  // namespace

void VgaRenderer::draw_text(Picture& to, BlinkPhase phase) const {
    const VgaScan scan(registers_);
    const auto colours = attribute_colours(registers_);
    const unsigned mode = registers_.attribute(vga::kModeControl);
    const bool blinks = (mode & 8) != 0, line_graphics = (mode & 4) != 0;
    const unsigned underline = registers_.crtc(vga::kUnderline) & 0x1f;
    // Where the fonts begin in plane 2: bits 4, 0 and 1 of the character map register for attributes without bit 3,
    // bits 5, 2 and 3 for those with it. Each font is 8 KiB, 32 bytes a character.
    const unsigned map = registers_.sequencer(vga::kCharacterMap);
    const std::array<u32, 2> fonts = {((map << 1 & 6) | (map >> 4 & 1)) * 0x2000u,
                                      ((map >> 1 & 6) | (map >> 5 & 1)) * 0x2000u};
    const u32 cursor = u32{registers_.crtc(vga::kCursorHigh)} << 8 | registers_.crtc(vga::kCursorLow);
    const unsigned cursor_start = registers_.crtc(vga::kCursorStart);
    const unsigned cursor_end = registers_.crtc(vga::kCursorEnd) & 0x1f;
    const bool cursor_on = phase.cursor && (cursor_start & 0x20) == 0;

    const auto glyph = [&](u32 at, unsigned row_scan) {
        const unsigned character = byte(at, 0), attribute = byte(at, 1);
        Glyph g;
        const bool hidden = blinks && (attribute & kBlinkAttribute) != 0 && !phase.text;
        g.background = colours[attribute >> 4 & (blinks ? 7 : 15)];
        g.foreground = hidden ? g.background : colours[attribute & 15];
        g.dots = unsigned{byte(fonts[attribute >> 3 & 1] + character * 32 + row_scan, 2)} << 1;
        // The ninth dot repeats the eighth for what joins to lines, C0h to DFh.
        if (line_graphics && character >= 0xc0 && character <= 0xdf) g.dots |= g.dots >> 1 & 1;
        if (row_scan == underline && (attribute & 0x77) == 1) g.dots = 0x1ff;
        const bool in_cursor = row_scan >= (cursor_start & 0x1f) && row_scan <= cursor_end;
        if (cursor_on && in_cursor && at == cursor) {
            g.dots = 0x1ff;
            g.foreground = colours[attribute & 15];
        }
        return g;
    };

    const unsigned cell = scan.nine_dots() ? 9 : 8, dot_width = scan.dot_width();
    PixelWriter out(to);
    for (unsigned y = 0; y < to.height; ++y) {
        const VgaScan::Line line = scan.line(y);
        unsigned left = line.panning % cell;
        for (unsigned column = 0; column <= scan.columns(); ++column) {
            const Glyph g = glyph((line.address + column) & 0xffff, line.row_scan);
            for (unsigned dot = left; dot < cell && !out.line_full(); ++dot) {
                const Rgb colour = (g.dots << dot & 0x100) != 0 ? g.foreground : g.background;
                for (unsigned i = 0; i < dot_width; ++i) out.put(colour);
            }
            left = 0;
        }
        out.next_line();
    }
}

}  // namespace dualvm::devices
