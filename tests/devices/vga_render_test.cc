// Pixels of each kind of mode.
#include "vga_test_machine.h"

namespace dualvm::devices {
namespace {

constexpr Rgb kBlack = {}, kBlue = {0, 0, 0xa8}, kGrey = {0xa8, 0xa8, 0xa8}, kWhite = {0xff, 0xff, 0xff},
              kRed = {0xa8, 0, 0};

class VgaPictures : public VgaTest {
protected:
    // A font in which the lines of a character are its code, and one more for each line.
    void SetUp() override {
        std::vector<u8> font(4096);
        for (unsigned i = 0; i < font.size(); ++i) font[i] = static_cast<u8>(i / 16 + i % 16);
        vga->set_font(font);
        crtc(0x0a, 0x20);  // no cursor
    }
    void planes(u64 at, u32 value) { linear(4 * at, 4, value); }
    void clear() {
        for (u64 at = 0; at < 0x40000; at += 8) linear(at, 8, 0);
    }
    Rgb at(unsigned x, unsigned y) { return pixel(vga->picture(), x, y); }
    // Which dots of [x, x + count) in line y have this colour; the leftmost is the highest bit.
    unsigned dots(const Rgb& colour, unsigned x, unsigned y, unsigned count) {
        const Picture picture = vga->picture();
        unsigned found = 0;
        for (unsigned i = 0; i < count; ++i) found = found << 1 | (pixel(picture, x + i, y) == colour ? 1 : 0);
        return found;
    }
};

TEST_F(VgaPictures, TextIs720By400) {
    const Picture picture = vga->picture();
    EXPECT_EQ(picture.width, 720u);
    EXPECT_EQ(picture.height, 400u);
    EXPECT_EQ(picture.rgb.size(), 720u * 400 * 3);
}

TEST_F(VgaPictures, TextHasGlyphsInTheirColours) {
    print(1, 2, "A", 0x17);
    EXPECT_EQ(dots(kGrey, 18, 16, 9), 0x41u << 1);
    EXPECT_EQ(dots(kBlue, 18, 16, 9), ~(0x41u << 1) & 0x1ff);
    EXPECT_EQ(dots(kGrey, 18, 31, 9), (0x41u + 15) << 1);
    EXPECT_EQ(at(17, 16), kBlack);
}

TEST_F(VgaPictures, LineGraphicsReachTheNinthDot) {
    const u8 joined = 0xc5, other = 0xe1;
    print(0, 0, std::string{static_cast<char>(joined), static_cast<char>(other)});
    EXPECT_EQ(dots(kGrey, 0, 0, 9), 0xc5u << 1 | 1);
    EXPECT_EQ(dots(kGrey, 9, 0, 9), 0xe1u << 1);
    attribute(0x10, 0x08);
    EXPECT_EQ(dots(kGrey, 0, 0, 9), 0xc5u << 1) << "switched off";
}

TEST_F(VgaPictures, CharactersCanHaveEightDots) {
    sequencer(1, 1);
    print(0, 1, "B");
    EXPECT_EQ(vga->picture().width, 640u);
    EXPECT_EQ(dots(kGrey, 8, 0, 8), 0x42u);
}

TEST_F(VgaPictures, HalfTheDotClockMakesDotsTwiceAsWide) {
    sequencer(1, 9);
    mode({{1, 39}});
    print(0, 0, "\x81");
    EXPECT_EQ(vga->picture().width, 640u);
    EXPECT_EQ(dots(kGrey, 0, 0, 16), 0xc003u);
}

TEST_F(VgaPictures, AttributeBit3SelectsTheSecondFont) {
    linear((0x4000 + 'A' * 32) * 4 + 2, 1, 0x3c);  // the font at 4000h
    sequencer(3, 0x04);                            // first 0, second 1
    print(0, 0, "A", 0x0f);
    print(0, 1, "A", 0x07);
    EXPECT_EQ(dots(kWhite, 0, 0, 8), 0x3cu);
    EXPECT_EQ(dots(kGrey, 9, 0, 8), 0x41u);
    sequencer(3, 0x01);  // first 1, second 0
    EXPECT_EQ(dots(kWhite, 0, 0, 8), 0x41u);
    EXPECT_EQ(dots(kGrey, 9, 0, 8), 0x3cu);
}

TEST_F(VgaPictures, BlinkingTextIsShownInOnePhase) {
    print(0, 0, "\xff", 0x97);
    EXPECT_EQ(dots(kGrey, 0, 0, 8), 0xffu);
    EXPECT_EQ(pixel(vga->picture({.cursor = true, .text = false}), 0, 0), kBlue);
    attribute(0x10, 0x04);  // bit 7 is the background's brightness
    EXPECT_EQ(at(8, 0), (Rgb{0x57, 0x57, 0xff}));
    EXPECT_EQ(pixel(vga->picture({.cursor = true, .text = false}), 0, 0), kGrey);
}

TEST_F(VgaPictures, TheCursorIsInTheForegroundColour) {
    print(2, 3, " ", 0x14);
    crtc(0x0f, 2 * 80 + 3);
    crtc(0x0a, 13);
    crtc(0x0b, 14);
    EXPECT_EQ(dots(kRed, 27, 32 + 13, 9), 0x1ffu);
    EXPECT_EQ(dots(kRed, 27, 32 + 14, 9), 0x1ffu);
    EXPECT_EQ(dots(kRed, 27, 32 + 15, 9), 0x2fu << 1);
    EXPECT_EQ(pixel(vga->picture({.cursor = false, .text = true}), 27, 32 + 13), kBlue);
    crtc(0x0a, 0x20 | 13);
    EXPECT_EQ(at(27, 32 + 13), kBlue);
    EXPECT_TRUE(vga->screen().cursor == (Screen::Cursor{.row = 2, .column = 3, .visible = false}));
}

TEST_F(VgaPictures, UnderlineIsForOneAttribute) {
    crtc(0x14, 12);
    print(0, 0, std::string_view("\0\0", 2), 0x01);
    print(0, 1, std::string_view("\0", 1), 0x02);
    EXPECT_EQ(dots(kBlue, 0, 12, 9), 0x1ffu);
    EXPECT_EQ(dots({0, 0xa8, 0}, 9, 12, 9), 0x00cu << 1);
}

TEST_F(VgaPictures, LineCompareSplitsTheScreen) {
    print(0, 0, "A");
    print(2, 0, "B");
    crtc(0x0d, 160);  // from the third row on
    EXPECT_EQ(dots(kGrey, 0, 0, 8), 0x42u);
    mode({{7, 0x0f}, {9, 0x0f}, {0x18, 31}});  // line compare 31: bits 8 and 9 are cleared
    EXPECT_EQ(dots(kGrey, 0, 32, 8), 0x41u) << "address 0";
    EXPECT_EQ(vga->screen().at(2, 0).character, 'A');
}

TEST_F(VgaPictures, PanningMovesToTheLeft) {
    print(0, 0, "\xff\x01");
    attribute(0x13, 2);  // of nine dots: 3
    EXPECT_EQ(dots(kGrey, 0, 0, 9), 0x1fu << 4);
    attribute(0x13, 8);
    EXPECT_EQ(dots(kGrey, 0, 0, 9), 0xffu << 1);
    crtc(8, 0x25);  // a byte, and five lines
    EXPECT_EQ(dots(kGrey, 0, 0, 8), 0x06u);
}

TEST_F(VgaPictures, SixteenColoursComeFromFourPlanes) {
    clear();
    mode_12h();
    planes(80 + 1, 0x0f03ff80);  // line 1: plane 0 80h, plane 1 ffh, plane 2 03h, plane 3 0fh
    const Picture picture = vga->picture();
    EXPECT_EQ(picture.width, 640u);
    EXPECT_EQ(picture.height, 480u);
    const Rgb colours[] = {{0, 0xa8, 0xa8},    {0, 0xa8, 0},       {0, 0xa8, 0},       {0, 0xa8, 0},
                           {0x57, 0xff, 0x57}, {0x57, 0xff, 0x57}, {0xff, 0xff, 0x57}, {0xff, 0xff, 0x57}};
    for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(pixel(picture, 8 + i, 1), colours[i]) << i;
    attribute(0x12, 0x8);  // only plane 3
    EXPECT_EQ(at(8, 1), kBlack);
    EXPECT_EQ(at(15, 1), (Rgb{0x57, 0x57, 0x57}));
    EXPECT_EQ(vga->screen().bits_per_pixel, 4u);
}

TEST_F(VgaPictures, PlanarModesScrollByStartAndPanning) {
    clear();
    mode_12h();
    planes(160, 0x000000ff);
    crtc(0x0d, 159);
    attribute(0x13, 3);
    EXPECT_EQ(dots(kBlue, 0, 0, 16), 0x07f8u);
}

TEST_F(VgaPictures, Ega320By200IsDoubledBothWays) {
    clear();
    mode({{1, 39}, {7, 0x1f}, {9, 0xc0}, {0x12, 0x8f}, {0x13, 0x14}, {0x14, 0}, {0x17, 0xe3}});
    sequencer(1, 9);
    graphics(5, 0);
    graphics(6, 5);
    planes(40, 0x00000040);  // the second dot of the second line
    const Picture picture = vga->picture();
    EXPECT_EQ(picture.width, 640u);
    EXPECT_EQ(picture.height, 400u);
    EXPECT_EQ(dots(kBlue, 0, 2, 8), 0x30u);
    EXPECT_EQ(dots(kBlue, 0, 3, 8), 0x30u);
    EXPECT_EQ(dots(kBlue, 0, 4, 8), 0u);
    EXPECT_EQ(vga->screen().width, 320u);
    EXPECT_EQ(vga->screen().height, 200u);
}

TEST_F(VgaPictures, Mode13hIs256ColoursTwoDotsEach) {
    clear();
    mode_13h();
    colour(200, 0x3f, 0x15, 0);
    vga->write(320 + 2, 1, 200);
    const Picture picture = vga->picture();
    EXPECT_EQ(picture.width, 640u);
    EXPECT_EQ(picture.height, 400u);
    for (unsigned y = 2; y < 4; ++y) {
        EXPECT_EQ(dots({0xff, 0x57, 0}, 0, y, 8), 0x0cu) << y;
    }
    EXPECT_EQ(at(4, 4), kBlack);
    EXPECT_EQ(vga->screen().width, 320u);
    EXPECT_EQ(vga->screen().height, 200u);
    EXPECT_EQ(vga->screen().bits_per_pixel, 8u);
    attribute(0x13, 4);
    EXPECT_EQ(dots({0xff, 0x57, 0}, 0, 2, 8), 0xc0u) << "panned by two pixels";
    out(0x3c6, 0x3f);
    EXPECT_EQ(at(0, 2), (Rgb{0, 0, 0x57})) << "200 without its upper bits is 8";
}

TEST_F(VgaPictures, ModeXShowsOnePagePerStartAddress) {
    clear();
    mode_13h();
    sequencer(4, 6);  // unchained
    mode({{0x14, 0}, {0x17, 0xe3}});
    colour(9, 0, 0x3f, 0);
    sequencer(2, 4);
    vga->write(16000, 1, 9);  // the second page, third pixel
    EXPECT_EQ(at(4, 0), kBlack);
    crtc(0x0c, 16000 >> 8);
    crtc(0x0d, 16000 & 0xff);
    EXPECT_EQ(at(4, 0), (Rgb{0, 0xff, 0}));
}

TEST_F(VgaPictures, CgaHasFourColoursInTwoBanks) {
    clear();
    mode({{1, 39}, {7, 0x1f}, {9, 0xc1}, {0x12, 0x8f}, {0x13, 0x14}, {0x14, 0}, {0x17, 0xa2}});
    sequencer(1, 9);
    sequencer(2, 3);
    sequencer(4, 2);
    graphics(5, 0x30);
    graphics(6, 0xf);
    attribute(0x12, 3);
    vga->write(kText + 1, 1, 0x1b);       // line 0, pixels 4 to 7: 0 1 2 3
    vga->write(kText + 0x2000, 1, 0x80);  // line 1, pixel 0: 2
    const Picture picture = vga->picture();
    EXPECT_EQ(picture.width, 640u);
    EXPECT_EQ(pixel(picture, 8, 0), kBlack);
    EXPECT_EQ(pixel(picture, 10, 0), kBlue);
    EXPECT_EQ(pixel(picture, 12, 1), (Rgb{0, 0xa8, 0}));
    EXPECT_EQ(pixel(picture, 14, 1), (Rgb{0, 0xa8, 0xa8}));
    EXPECT_EQ(pixel(picture, 0, 2), (Rgb{0, 0xa8, 0}));
    EXPECT_EQ(pixel(picture, 0, 4), kBlack);
    EXPECT_EQ(vga->screen().bits_per_pixel, 2u);
    EXPECT_EQ(vga->screen().height, 200u);
}

TEST_F(VgaPictures, CgaHasTwoColoursToo) {
    clear();
    mode({{1, 79}, {7, 0x1f}, {9, 0xc1}, {0x12, 0x8f}, {0x13, 0x28}, {0x14, 0}, {0x17, 0xc2}});
    sequencer(1, 1);
    sequencer(2, 1);
    sequencer(4, 6);
    graphics(5, 0);
    graphics(6, 0xd);
    attribute(0x12, 1);
    vga->write(kText + 0x2000 + 80, 1, 0x18);  // line 3
    EXPECT_EQ(dots(kBlue, 0, 6, 8), 0x18u);
    EXPECT_EQ(dots(kBlue, 0, 4, 8), 0u);
    EXPECT_EQ(vga->screen().bits_per_pixel, 1u);
}

TEST_F(VgaPictures, ColourSelectReplacesUpperBits) {
    clear();
    mode_12h();
    planes(0, 0xff);
    colour(0x21, 0x3f, 0, 0);
    attribute(0x10, 0x81);
    attribute(0x14, 0x2);
    EXPECT_EQ(at(0, 0), (Rgb{0xff, 0, 0}));
}

TEST_F(VgaPictures, VbeModesOfEachDepth) {
    const struct {
        unsigned bits, bytes;
        u64 value;
        Rgb colour;
    } depths[] = {{15, 2, 0x7c1f, {0xff, 0, 0xff}},      {15, 2, 0x0200, {0, 0x84, 0}},
                  {16, 2, 0xf81f, {0xff, 0, 0xff}},      {16, 2, 0x0400, {0, 0x82, 0}},
                  {24, 3, 0x123456, {0x12, 0x34, 0x56}}, {32, 4, 0xff123456, {0x12, 0x34, 0x56}}};
    for (const auto& depth : depths) {
        vbe_mode(64, 48, depth.bits);
        const u64 at = (u64{47} * 64 + 63) * depth.bytes;
        for (unsigned i = 0; i < depth.bytes; ++i) linear(at + i, 1, depth.value >> (8 * i) & 0xff);
        const Picture picture = vga->picture();
        EXPECT_EQ(picture.width, 64u);
        EXPECT_EQ(picture.height, 48u);
        EXPECT_EQ(pixel(picture, 63, 47), depth.colour) << depth.bits;
        EXPECT_EQ(pixel(picture, 62, 47), kBlack) << depth.bits;
        EXPECT_EQ(vga->screen().bits_per_pixel, depth.bits);
    }
}

TEST_F(VgaPictures, VbeHasPlanesToo) {
    clear();
    vbe_mode(64, 48, 4);
    planes(8 * 2 + 1, 0x00800000);
    EXPECT_EQ(at(8, 2), kRed);
    EXPECT_EQ(at(9, 2), kBlack);
}

TEST_F(VgaPictures, VbeShowsAPartOfAVirtualScreen) {
    vbe_mode(64, 48, 8);
    vbe(Dispi::kVirtualWidth, 128);
    vbe(Dispi::kX, 5);
    vbe(Dispi::kY, 7);
    linear(128 * 9 + 6, 1, 1);
    EXPECT_EQ(at(1, 2), kBlue);
    EXPECT_EQ(at(0, 2), kBlack);
}

}  // namespace
}  // namespace dualvm::devices
