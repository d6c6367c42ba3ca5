// The CPU's way to the planes: write modes, read modes, latches, chain-4, odd/even, the window's size.
#include "vga_test_machine.h"

namespace dualvm::devices {
namespace {

class VgaPlanes : public VgaTest {
protected:
    void SetUp() override {
        vga = make(*machine, Vga::AfterReset::Nothing);  // all memory is 0
        out(0x3c2, 0x67);
        mode_12h();
        graphics(8, 0xff);
    }
    void write(u64 at, u8 value) { vga->write(at, 1, value); }
    u8 read(u64 at) { return static_cast<u8>(vga->read(at, 1)); }
    // The four planes' bytes at an address, plane 0 in the lowest byte.
    u32 planes(u64 at) { return static_cast<u32>(linear(4 * at, 4)); }
    void set_planes(u64 at, u32 value) { linear(4 * at, 4, value); }
};

TEST_F(VgaPlanes, WriteMode0WritesToThePlanesThatAreOpen) {
    sequencer(2, 5);
    write(10, 0xa5);
    EXPECT_EQ(planes(10), 0x00a500a5u);
}

TEST_F(VgaPlanes, WriteMode0RotatesRight) {
    graphics(3, 3);
    write(0, 0x81);
    EXPECT_EQ(planes(0), 0x30303030u);
}

TEST_F(VgaPlanes, SetResetReplacesTheDataOfEnabledPlanes) {
    graphics(0, 0b0110);
    graphics(1, 0b0011);
    write(0, 0x5a);
    EXPECT_EQ(planes(0), 0x5a5aff00u);
}

TEST_F(VgaPlanes, TheBitMaskLetsLatchesThrough) {
    set_planes(7, 0x44332211);
    read(7);  // fills the latches
    graphics(8, 0x0f);
    write(8, 0xff);
    EXPECT_EQ(planes(8), 0x4f3f2f1fu);
}

TEST_F(VgaPlanes, LogicalOperationsAreWithTheLatches) {
    set_planes(0, 0x0f0f3c3c);
    const u32 results[] = {0x66666666, 0x06062424, 0x6f6f7e7e, 0x69695a5a};  // replace, and, or, exclusive or
    for (unsigned operation = 0; operation < 4; ++operation) {
        read(0);
        graphics(3, operation << 3);
        write(1, 0x66);
        EXPECT_EQ(planes(1), results[operation]) << operation;
    }
}

TEST_F(VgaPlanes, WriteMode1CopiesTheLatches) {
    set_planes(3, 0x01020304);
    graphics(5, 1);
    graphics(8, 0);  // not looked at
    read(3);
    sequencer(2, 0xb);
    write(4, 0xff);
    EXPECT_EQ(planes(4), 0x01000304u);
}

TEST_F(VgaPlanes, WriteMode2TakesAColourFromTheData) {
    graphics(5, 2);
    read(0);
    graphics(8, 0xf0);
    write(0, 0x0a);
    EXPECT_EQ(planes(0), 0xf000f000u);
}

TEST_F(VgaPlanes, WriteMode3AndsTheRotatedDataToTheBitMask) {
    graphics(5, 3);
    graphics(0, 0x5);
    graphics(3, 4);
    graphics(8, 0x3c);
    set_planes(0, 0x80808080);
    read(0);
    write(0, 0xf0);  // rotated 0fh, and with the mask 0ch
    EXPECT_EQ(planes(0), 0x808c808cu);
}

TEST_F(VgaPlanes, ReadMode0ReadsThePlaneOfTheReadMap) {
    set_planes(9, 0x44332211);
    for (unsigned plane = 0; plane < 4; ++plane) {
        graphics(4, plane);
        EXPECT_EQ(read(9), 0x11 * (plane + 1));
    }
}

TEST_F(VgaPlanes, ReadMode1ComparesColours) {
    set_planes(0, 0x0ff03cff);  // from the left: colours 5, 5, 7, 7, 11, 11, 9, 9
    graphics(5, 8);
    graphics(2, 5);
    graphics(7, 0xf);
    EXPECT_EQ(read(0), 0xc0);
    graphics(7, 0xd);  // plane 1 does not matter
    EXPECT_EQ(read(0), 0xf0);
    graphics(7, 0);
    EXPECT_EQ(read(0), 0xff);
}

TEST_F(VgaPlanes, WiderAccessesAreBytesOneAfterTheOther) {
    set_planes(5, 0x80808080);
    set_planes(6, 0x01010101);
    EXPECT_EQ(vga->read(5, 2), 0x0180u);
    graphics(8, 0);
    vga->write(8, 2, 0xffff);  // the latches hold what was read last
    EXPECT_EQ(planes(8), 0x01010101u);
    EXPECT_EQ(planes(9), 0x01010101u);
}

TEST_F(VgaPlanes, Chain4TakesThePlaneFromTheAddress) {
    mode_13h();
    vga->write(0x100, 8, 0x8877665544332211);
    EXPECT_EQ(planes(0x40), 0x44332211u);
    EXPECT_EQ(vga->read(0x103, 1), 0x44u);
    sequencer(2, 0x2);
    vga->write(0x100, 4, 0);
    EXPECT_EQ(planes(0x40), 0x44330011u) << "the map mask counts";
    vga->write(0xffff, 1, 0x99);
    EXPECT_EQ(vga->read(0xffff, 1), 0u) << "plane 3 is closed";
}

TEST_F(VgaPlanes, OddEvenTakesTwoPlanesInTurns) {
    graphics(5, 0x10);
    sequencer(4, 2);
    vga->write(6, 2, 0x2211);
    EXPECT_EQ(planes(3), 0x00002211u);
    EXPECT_EQ(vga->read(6, 2), 0x2211u);
    graphics(4, 2);  // planes 2 and 3
    vga->write(6, 2, 0x4433);
    EXPECT_EQ(planes(3), 0x44332211u);
    EXPECT_EQ(vga->read(7, 1), 0x44u);
    graphics(4, 0);
    sequencer(2, 1);
    vga->write(6, 2, 0x6655);
    EXPECT_EQ(planes(3), 0x44332255u);
}

TEST_F(VgaPlanes, TextCellsAreTheSameHoweverWideTheAccess) {
    graphics(5, 0x10);
    graphics(6, 0xe);
    sequencer(2, 3);
    vga->write(kText, 8, 0x0741074207430744);
    for (unsigned i = 0; i < 8; ++i) {
        EXPECT_EQ(vga->read(kText + i, 1), 0x0741074207430744u >> (8 * i) & 0xff);
    }
    vga->write(kText + 0x7fff, 2, 0x1234);  // half of it behind the end
    EXPECT_EQ(vga->read(kText + 0x7fff, 1), 0x34u);
    EXPECT_EQ(vga->read(kText + 0x7ffe, 2), 0x3400u);
}

TEST_F(VgaPlanes, TheWindowIsWhereMemoryMapSelectSays) {
    const struct {
        unsigned select;
        u64 base, size;
    } maps[] = {{0, 0, 0x20000}, {1, 0, 0x10000}, {2, 0x10000, 0x8000}, {3, 0x18000, 0x8000}};
    for (const auto& map : maps) {
        graphics(6, map.select << 2 | 1);
        set_planes(0, 0);
        vga->write(map.base, 1, 0x5a);
        EXPECT_EQ(planes(0), 0x5a5a5a5au) << map.select;
        const u64 outside = map.base == 0 ? 0x1f000 : 0;
        if (map.size == 0x20000) continue;
        vga->write(outside, 1, 0x77);
        EXPECT_EQ(vga->read(outside, 1), 0xffu) << map.select;
        EXPECT_EQ(planes(0), 0x5a5a5a5au) << map.select;
    }
}

TEST_F(VgaPlanes, PlanesAre64KibibytesAndWrap) {
    graphics(6, 1);  // 128 KiB of window
    vga->write(0x10005, 1, 0x42);
    EXPECT_EQ(planes(5), 0x42424242u);
}

TEST_F(VgaPlanes, BanksReachAllOfTheMemory) {
    vbe_mode(640, 400, 8);
    vbe(Dispi::kBank, 15);
    vga->write(0xffff, 1, 0x42);
    EXPECT_EQ(linear(0xfffff, 1), 0x42u);
    vbe(Dispi::kBank, 16);
    EXPECT_EQ(vbe(Dispi::kBank), 0u) << "there are 16";
    vbe_mode(640, 400, 4);
    sequencer(4, 6);
    vbe(Dispi::kBank, 3);
    vga->write(0xffff, 1, 0x55);
    EXPECT_EQ(linear(0xffffc, 4), 0x55555555u);
}

}  // namespace
}  // namespace dualvm::devices
