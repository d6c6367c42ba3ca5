#include "vga_test_machine.h"

namespace dualvm::devices {
namespace {

class VgaDevice : public VgaTest {};

TEST_F(VgaDevice, AnUntouchedScreenIsEmpty) {
    EXPECT_EQ(vga->text(), "");
    EXPECT_FALSE(vga->used());
    EXPECT_EQ(vga->screen().kind, Screen::Kind::Text);
    EXPECT_EQ(vga->screen().columns, 80u);
    EXPECT_EQ(vga->screen().rows, 25u);
    EXPECT_TRUE(vga->screen().blinks);
}

TEST_F(VgaDevice, WithFirmwareNothingIsShownUntilItSaysSo) {
    const auto other = make(*machine, Vga::AfterReset::Nothing);
    EXPECT_EQ(other->screen().kind, Screen::Kind::Blank);
    EXPECT_EQ(other->text(), "");
    EXPECT_TRUE(other->picture().rgb.empty());
}

TEST_F(VgaDevice, TextIsTheScreenWithoutTrailingBlanks) {
    print(0, 0, "hello   ");
    print(2, 3, "there");
    EXPECT_EQ(vga->text(), "hello\n\n   there\n");
    EXPECT_TRUE(vga->used());
}

TEST_F(VgaDevice, TextTurnsCodePage437IntoUtf8) {
    print(0, 0, "\xc9\xcd\xbb \x81\xe1\x01\x7f\xfe");
    EXPECT_EQ(vga->text(), "╔═╗ üß☺⌂■\n");
    EXPECT_EQ(from_code_page_437('~'), "~");
    EXPECT_EQ(from_code_page_437(0xff), "\u00a0");
}

TEST_F(VgaDevice, MemoryIsReadAsItWasWritten) {
    vga->write(kText, 8, 0x0741074207430744);
    EXPECT_EQ(vga->read(kText, 8), 0x0741074207430744u);
    EXPECT_EQ(vga->read(kText + 2, 2), 0x0743u);
    vga->write(0, 4, 0xdeadbeef);  // A0000h, where text modes have no memory
    EXPECT_EQ(vga->read(0, 4), 0xffffffffu);
}

TEST_F(VgaDevice, CellsHaveAttributes) {
    print(24, 79, "x", 0x1f);
    EXPECT_EQ(vga->screen().at(24, 79), (Screen::Cell{'x', 0x1f}));
}

TEST_F(VgaDevice, StartAddressScrolls) {
    print(1, 0, "second");
    indexed(0x3d4, 0x0d, 80);
    EXPECT_EQ(vga->text(), "second\n");
}

TEST_F(VgaDevice, TheScreenWrapsAtTheEndOfMemory) {
    crtc(0x0c, 0xff);
    crtc(0x0d, 0xff);
    print(0, 0, "x");
    EXPECT_EQ(vga->screen().at(0, 1).character, 'x');
}

TEST_F(VgaDevice, CursorIsWhereTheCrtcSays) {
    indexed(0x3d4, 0x0e, (3 * 80 + 7) >> 8);
    indexed(0x3d4, 0x0f, (3 * 80 + 7) & 0xff);
    EXPECT_EQ(vga->screen().cursor.row, 3u);
    EXPECT_EQ(vga->screen().cursor.column, 7u);
    EXPECT_TRUE(vga->screen().cursor.visible);
    indexed(0x3d4, 0x0a, 0x20);
    EXPECT_FALSE(vga->screen().cursor.visible);
    indexed(0x3d4, 0x0a, 0x0d);
    indexed(0x3d4, 0x0e, 0xff);
    EXPECT_FALSE(vga->screen().cursor.visible) << "off the screen";
}

TEST_F(VgaDevice, CrtcTimingIsWriteProtected) {
    out(0x3d4, 0);
    EXPECT_EQ(in(0x3d5), 0x5f);
    out(0x3d5, 0);
    EXPECT_EQ(in(0x3d5), 0x5f);
    indexed(0x3d4, 7, 0);
    EXPECT_EQ(in(0x3d5), 0x0f) << "line compare's bit 8 is open";
    indexed(0x3d4, 0x11, 0x0e);
    indexed(0x3d4, 0, 0x12);
    EXPECT_EQ(in(0x3d5), 0x12);
}

TEST_F(VgaDevice, TheAttributeControllerTakesIndexAndDataInTurns) {
    in(0x3da);
    out(0x3c0, 0x13);
    out(0x3c0, 0x08);
    out(0x3c0, 0x33);
    EXPECT_EQ(in(0x3c1), 0x08);
    EXPECT_EQ(in(0x3c0), 0x33);
    in(0x3da);  // back to index
    out(0x3c0, 0x10);
    EXPECT_EQ(in(0x3c0), 0x10);
}

TEST_F(VgaDevice, StatusFollowsTheBeam) {
    // Mode 3: 100 characters of 9 dots at 28.322 MHz are 31,777 ns; of 449 lines 400 are shown, and 412 and 413 are in
    // vertical retrace.
    constexpr Nanoseconds kLine = 31'777;
    VirtualClock& clock = *machine->virtual_clock();
    clock.skip_to(kLine * 449);  // a frame begins
    EXPECT_EQ(in(0x3da) & 9, 0);
    clock.skip_to(clock.now() + kLine * 85 / 100);
    EXPECT_EQ(in(0x3da) & 9, 1) << "between lines";
    clock.skip_to(kLine * 449 + kLine * 405 + 100);
    EXPECT_EQ(in(0x3da) & 9, 1) << "behind the last line";
    clock.skip_to(kLine * 449 + kLine * 412 + 100);
    EXPECT_EQ(in(0x3da) & 9, 9);
    clock.skip_to(kLine * 449 + kLine * 414 + 100);
    EXPECT_EQ(in(0x3da) & 9, 1);
}

TEST_F(VgaDevice, DacHoldsSixBitsForEachOfThreeColours) {
    out(0x3c8, 255);
    for (unsigned v : {0xffu, 2u, 3u, 4u, 5u, 6u}) out(0x3c9, v);  // the second three are colour 0's
    EXPECT_EQ(in(0x3c7), 0);
    out(0x3c7, 255);
    EXPECT_EQ(in(0x3c7), 3);
    EXPECT_EQ(in(0x3c9), 0x3f);
    EXPECT_EQ(in(0x3c9), 2);
    EXPECT_EQ(in(0x3c9), 3);
    EXPECT_EQ(in(0x3c9), 4);
    out(0x3c6, 0x0f);
    EXPECT_EQ(in(0x3c6), 0x0f);
}

TEST_F(VgaDevice, SequencerAndGraphicsRegistersKeepTheirValues) {
    indexed(0x3c4, 4, 0x06);
    EXPECT_EQ(in(0x3c5), 0x06);
    indexed(0x3ce, 8, 0x55);
    EXPECT_EQ(in(0x3cf), 0x55);
}

TEST_F(VgaDevice, MonochromeSetUpMovesTheCrtcTo3B4) {
    EXPECT_EQ(in(0x3b5), 0xff);
    out(0x3c2, 0x66);
    EXPECT_EQ(in(0x3cc), 0x66);
    out(0x3b4, 0x0f);
    out(0x3b5, 0x42);
    EXPECT_EQ(in(0x3b5), 0x42);
    EXPECT_EQ(vga->screen().cursor.column, 0x42u);
}

TEST_F(VgaDevice, ADacColourIsTakenOverWhenItIsWhole) {
    colour(7, 1, 2, 3);
    out(0x3c8, 7);
    out(0x3c9, 0x3f);
    out(0x3c9, 0x3f);
    out(0x3c7, 7);
    EXPECT_EQ(in(0x3c9), 1);
    EXPECT_EQ(in(0x3c9), 2);
    EXPECT_EQ(in(0x3c9), 3);
    EXPECT_EQ(in(0x3c8), 7);
    colour(7, 4, 5, 6);
    EXPECT_EQ(in(0x3c8), 8) << "the next to be written";
    EXPECT_EQ(in(0x3c7), 0) << "the last selection was to write";
}

TEST_F(VgaDevice, TheDacCanHaveEightBits) {
    vbe_mode(640, 100, 8, Dispi::kEightBitDac);
    colour(1, 0xff, 0x81, 0x02);
    linear(0, 1, 1);
    EXPECT_EQ(pixel(vga->picture(), 0, 0), (Rgb{0xff, 0x81, 0x02}));
    vbe(Dispi::kEnable, 0);
    colour(1, 0xff, 0x81, 0x02);
    out(0x3c7, 1);
    EXPECT_EQ(in(0x3c9), 0x3f);
    EXPECT_EQ(in(0x3c9), 0x01);
}

TEST_F(VgaDevice, BitsThatDoNotExistReadAsZero) {
    sequencer(1, 0xff);
    EXPECT_EQ(in(0x3c5), 0x3d);
    graphics(5, 0xff);
    EXPECT_EQ(in(0x3cf), 0x7b);
    attribute(0, 0xff);
    in(0x3da);
    out(0x3c0, 0);
    EXPECT_EQ(in(0x3c1), 0x3f);
}

TEST_F(VgaDevice, LoadedElsewhereItShowsTheSame) {
    print(5, 5, "saved", 0x4e);
    indexed(0x3d4, 0x0f, 9);
    out(0x3c8, 7);
    out(0x3c9, 1);
    in(0x3da);
    out(0x3c0, 0x25);
    const auto other = make(*machine);
    ASSERT_TRUE(load(*other, saved(*vga)));
    EXPECT_EQ(saved(*other), saved(*vga));
    EXPECT_EQ(other->text(), vga->text());
    EXPECT_EQ(other->picture(), vga->picture());
    EXPECT_EQ(other->screen().cursor.column, 9u);
    EXPECT_TRUE(other->used());
}

TEST_F(VgaDevice, VbeModesAreSavedToo) {
    vbe_mode(320, 200, 32);
    linear(320 * 4, 4, 0x123456);
    vbe(Dispi::kBank, 1);
    const auto other = make(*machine);
    ASSERT_TRUE(load(*other, saved(*vga)));
    EXPECT_EQ(other->picture(), vga->picture());
    EXPECT_EQ(pixel(other->picture(), 0, 1), (Rgb{0x12, 0x34, 0x56}));
}

TEST_F(VgaDevice, BadArchivesAreRefused) {
    print(0, 0, "kept");
    std::vector<u8> archive = saved(*vga);
    for (std::size_t length : {std::size_t{0}, std::size_t{5}, archive.size() / 2, archive.size() - 1}) {
        EXPECT_FALSE(load(*vga, {archive.begin(), archive.begin() + static_cast<std::ptrdiff_t>(length)}));
        EXPECT_EQ(vga->text(), "") << "as after a reset";
    }
    // Pages out of order: the number of the last page, 4096 bytes before the end, becomes that of the first.
    const std::size_t page = archive.size() - kPageSize - 4;
    std::fill_n(archive.begin() + static_cast<std::ptrdiff_t>(page), 4, u8{0xff});
    EXPECT_FALSE(load(*vga, archive));
}

}  // namespace
}  // namespace dualvm::devices
