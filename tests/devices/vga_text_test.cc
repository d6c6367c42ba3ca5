#include "dualvm/devices/vga_text.h"

#include "device_test.h"

namespace dualvm::devices {
namespace {

constexpr u64 kText = 0x18000;  // B8000h in the window

class Vga : public testing::Test {
protected:
    u8 in(unsigned port) { return static_cast<u8>(vga.read(VgaText::kPortsOffset + port - VgaText::kPorts, 1)); }
    void out(unsigned port, unsigned value) { vga.write(VgaText::kPortsOffset + port - VgaText::kPorts, 1, value); }
    void indexed(unsigned port, unsigned index, unsigned value) {
        out(port, index);
        out(port + 1, value);
    }
    void print(unsigned row, unsigned column, std::string_view text, u8 attribute = 7) {
        for (char c : text) {
            const u64 at = kText + (u64{row} * 80 + column++) * 2;
            vga.write(at, 2, static_cast<u64>(attribute << 8 | static_cast<u8>(c)));
        }
    }

    VirtualClock clock;
    VgaText vga{clock};
};

TEST_F(Vga, AnUntouchedScreenIsEmpty) {
    EXPECT_EQ(vga.text(), "");
    EXPECT_FALSE(vga.used());
}

TEST_F(Vga, TextIsTheScreenWithoutTrailingBlanks) {
    print(0, 0, "hello   ");
    print(2, 3, "there");
    EXPECT_EQ(vga.text(), "hello\n\n   there\n");
    EXPECT_TRUE(vga.used());
}

TEST_F(Vga, TextTurnsCodePage437IntoUtf8) {
    print(0, 0, "\xc9\xcd\xbb \x81\xe1\x01\x7f\xfe");
    EXPECT_EQ(vga.text(), "╔═╗ üß☺⌂■\n");
    EXPECT_EQ(from_code_page_437('~'), "~");
    EXPECT_EQ(from_code_page_437(0xff), "\u00a0");
}

TEST_F(Vga, MemoryIsReadAsItWasWritten) {
    vga.write(kText, 8, 0x0741074207430744);
    EXPECT_EQ(vga.read(kText, 8), 0x0741074207430744u);
    EXPECT_EQ(vga.read(kText + 2, 2), 0x0743u);
    vga.write(0, 4, 0xdeadbeef);  // A0000h
    EXPECT_EQ(vga.read(0, 4), 0xdeadbeefu);
}

TEST_F(Vga, CellsHaveAttributes) {
    print(24, 79, "x", 0x1f);
    EXPECT_EQ(vga.cell(24, 79), (VgaText::Cell{'x', 0x1f}));
}

TEST_F(Vga, StartAddressScrolls) {
    print(1, 0, "second");
    indexed(0x3d4, 0x0d, 80);
    EXPECT_EQ(vga.text(), "second\n");
}

TEST_F(Vga, TheScreenWrapsAtTheEndOfMemory) {
    indexed(0x3d4, 0x0c, 0x3f);
    indexed(0x3d4, 0x0d, 0xff);
    print(0, 0, "x");
    EXPECT_EQ(vga.cell(0, 1).character, 'x');
}

TEST_F(Vga, CursorIsWhereTheCrtcSays) {
    indexed(0x3d4, 0x0e, (3 * 80 + 7) >> 8);
    indexed(0x3d4, 0x0f, (3 * 80 + 7) & 0xff);
    EXPECT_EQ(vga.cursor().row, 3u);
    EXPECT_EQ(vga.cursor().column, 7u);
    EXPECT_TRUE(vga.cursor().visible);
    indexed(0x3d4, 0x0a, 0x20);
    EXPECT_FALSE(vga.cursor().visible);
    indexed(0x3d4, 0x0a, 0x0d);
    indexed(0x3d4, 0x0e, 0xff);
    EXPECT_FALSE(vga.cursor().visible) << "off the screen";
}

TEST_F(Vga, CrtcTimingIsWriteProtected) {
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

TEST_F(Vga, TheAttributeControllerTakesIndexAndDataInTurns) {
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

TEST_F(Vga, StatusShowsRetraces) {
    bool vertical = false, shown = false;
    for (int i = 0; i < 15'000; ++i) {
        clock.skip_to(clock.now() + 1000);
        const u8 status = in(0x3da);
        if (status & 8) {
            vertical = true;
            EXPECT_TRUE(status & 1);
        }
        shown = shown || (status & 9) == 0;
    }
    EXPECT_TRUE(vertical);
    EXPECT_TRUE(shown);
}

TEST_F(Vga, DacHoldsSixBitsForEachOfThreeColours) {
    out(0x3c8, 255);
    for (unsigned v : {0xffu, 2u, 3u, 4u}) out(0x3c9, v);  // the fourth is colour 0's red
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

TEST_F(Vga, SequencerAndGraphicsRegistersKeepTheirValues) {
    indexed(0x3c4, 4, 0x06);
    EXPECT_EQ(in(0x3c5), 0x06);
    indexed(0x3ce, 8, 0x55);
    EXPECT_EQ(in(0x3cf), 0x55);
}

TEST_F(Vga, MonochromeSetUpMovesTheCrtcTo3B4) {
    EXPECT_EQ(in(0x3b5), 0xff);
    out(0x3c2, 0x66);
    EXPECT_EQ(in(0x3cc), 0x66);
    out(0x3b4, 0x0f);
    out(0x3b5, 0x42);
    EXPECT_EQ(in(0x3b5), 0x42);
    EXPECT_EQ(vga.cursor().column, 0x42u);
}

TEST_F(Vga, LoadedElsewhereItShowsTheSame) {
    print(5, 5, "saved", 0x4e);
    indexed(0x3d4, 0x0f, 9);
    out(0x3c8, 7);
    out(0x3c9, 1);
    in(0x3da);
    out(0x3c0, 5);
    VgaText other{clock};
    ASSERT_TRUE(load(other, saved(vga)));
    EXPECT_EQ(saved(other), saved(vga));
    EXPECT_EQ(other.text(), vga.text());
    EXPECT_EQ(other.cursor().column, 9u);
    EXPECT_TRUE(other.used());
}

}  // namespace
}  // namespace dualvm::devices
