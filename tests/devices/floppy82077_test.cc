#include "dualvm/devices/floppy82077.h"

#include "device_test.h"
#include "memory_disk.h"

namespace dualvm::devices {
namespace {

using Bytes = std::vector<u8>;

class Floppy : public testing::Test {
protected:
    static constexpr u64 kDor = 2, kMsr = 4, kFifo = 5, kDir = 7;
    u8 in(u64 reg) { return static_cast<u8>(fdc.read(reg, 1)); }
    void out(u64 reg, unsigned value) { fdc.write(reg, 1, value); }
    Bytes command(const Bytes& bytes) {
        for (u8 b : bytes) {
            EXPECT_EQ(in(kMsr)&0xc0, 0x80);
            out(kFifo, b);
        }
        return rest();
    }
    Bytes rest() {
        Bytes all;
        while ((in(kMsr)&0xc0) == 0xc0) all.push_back(in(kFifo));
        return all;
    }
    // Channel 2 for `count` bytes at `address`; mode 46h writes memory, 4Ah reads it.
    void set_channel(u32 address, unsigned count, u8 mode) {
        dma.write(0x0a, 1, 6);
        dma.write(0x0c, 1, 0);
        dma.write(0x04, 1, address & 0xff);
        dma.write(0x04, 1, address >> 8 & 0xff);
        dma.write(0x05, 1, (count - 1) & 0xff);
        dma.write(0x05, 1, (count - 1) >> 8);
        dma.write(Dma8237Pair::kPages + 1, 1, address >> 16);
        dma.write(0x0b, 1, mode);
        dma.write(0x0a, 1, 2);
    }
    void settle() {
        out(kDor, 0x18);
        out(kDor, 0x1c);
        for (int i = 0; i < 4; ++i) command({0x08});
    }
    bool is_sector(const Bytes& data, std::size_t at, u64 sector) {
        for (u64 i = 0; i < 512; ++i) {
            if (data[at + i] != MemoryDisk::pattern(sector * 512 + i)) return false;
        }
        return true;
    }

    std::unique_ptr<VMem> vmem = *VMem::create(1);
    Dma8237Pair dma{*vmem};
    MemoryDisk disk{2880};
    Wire irq;
    Floppy82077 fdc{dma, irq.line(), {&disk, nullptr}};
};

TEST_F(Floppy, ResetInterruptsAndTellsOfFourDrives) {
    out(kDor, 0x08);
    EXPECT_EQ(in(kMsr), 0);
    out(kDor, 0x0c);
    EXPECT_TRUE(irq.level());
    for (u8 i = 0; i < 4; ++i) EXPECT_EQ(command({0x08}), (Bytes{static_cast<u8>(0xc0 | i), 0}));
    EXPECT_FALSE(irq.level());
    EXPECT_EQ(command({0x08}), Bytes{0x80});
}

TEST_F(Floppy, TheGateKeepsTheInterrupt) {
    out(kDor, 0x00);
    out(kDor, 0x04);
    EXPECT_FALSE(irq.level());
}

TEST_F(Floppy, SeeksAndRecalibrates) {
    settle();
    EXPECT_EQ(in(kDir), 0x80);  // the disk may have been changed
    command({0x0f, 0, 40});
    EXPECT_TRUE(irq.level());
    EXPECT_EQ(command({0x08}), (Bytes{0x20, 40}));
    EXPECT_EQ(in(kDir), 0);
    EXPECT_EQ(command({0x04, 0}), Bytes{0x28});
    command({0x07, 0});
    EXPECT_EQ(command({0x08}), (Bytes{0x20, 0}));
    EXPECT_EQ(command({0x04, 0}), Bytes{0x38});
}

TEST_F(Floppy, ASeekIsToldOfBeforeTheDrivesThatAResetFound) {
    out(kDor, 0x18);
    out(kDor, 0x1c);
    command({0x07, 0});
    EXPECT_EQ(command({0x08}), (Bytes{0x20, 0}));
    EXPECT_EQ(command({0x08}), (Bytes{0xc1, 0}));
}

TEST_F(Floppy, ASeekWaitsUntilItHasBeenSensed) {
    settle();
    command({0x0f, 0, 40});
    command({0x04, 0});  // SENSE DRIVE STATUS, which has a result
    EXPECT_TRUE(irq.level());
    EXPECT_EQ(command({0x08}), (Bytes{0x20, 40}));
    EXPECT_FALSE(irq.level());
    EXPECT_EQ(command({0x08}), Bytes{0x80});
}

TEST_F(Floppy, SeeksOfTwoDrivesAreToldOfEach) {
    Floppy82077 two{dma, irq.line(), {&disk, &disk}};
    const auto send = [&](std::initializer_list<u8> bytes) {
        for (u8 b : bytes) two.write(kFifo, 1, b);
    };
    send({0x0f, 0, 40});
    send({0x0f, 1, 20});
    for (const Bytes& expected : {Bytes{0x20, 40}, Bytes{0x21, 20}}) {
        EXPECT_TRUE(irq.level());
        send({0x08});
        for (u8 byte : expected) EXPECT_EQ(two.read(kFifo, 1), byte);
    }
    EXPECT_FALSE(irq.level());
}

TEST_F(Floppy, NoDriveIsAnother) {
    settle();
    for (u8 unit = 1; unit < 4; ++unit) {
        command({0x07, unit});
        EXPECT_EQ(command({0x08}), (Bytes{static_cast<u8>(0x70 | unit), 0}));
    }
    command({0x0f, 0, 40});
    command({0x03, 0xdf, 2});  // SPECIFY names no drive
    EXPECT_EQ(command({0x08}), (Bytes{0x20, 40}));
}

TEST_F(Floppy, WithoutPollingAResetTellsOfNothing) {
    settle();
    command({0x13, 0, 0x10, 0});
    command({0x94});  // LOCK, or the reset would undo that
    out(kDor, 0x18);
    out(kDor, 0x1c);
    EXPECT_FALSE(irq.level());
    EXPECT_EQ(command({0x08}), Bytes{0x80});
}

TEST_F(Floppy, ReadsByDmaOverBothHeadsUntilTerminalCount) {
    settle();
    set_channel(0x8000, 20 * 512, 0x46);
    EXPECT_EQ(command({0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x04, 0, 0, 0, 1, 3, 2}));
    Bytes data(20 * 512);
    ASSERT_TRUE(vmem->read(0x8000, data.data(), data.size()));
    for (unsigned i = 0; i < 20; ++i) EXPECT_TRUE(is_sector(data, i * 512, i));
}

// The end of a track in the result phase (82077AA data sheet): by two sectors from 17 on, with and without MT.
TEST_F(Floppy, BehindTheLastSectorComesTheOtherHeadOrTheNextCylinder) {
    settle();
    const auto end_of = [&](unsigned opcode, u8 head) {
        set_channel(0x8000, 2 * 512, 0x46);
        const Bytes r = command({static_cast<u8>(opcode), static_cast<u8>(head << 2), 0, head, 17, 2, 18, 0x1b, 0xff});
        return Bytes{r[3], r[4], r[5]};
    };
    EXPECT_EQ(end_of(0x66, 0), (Bytes{1, 0, 1}));
    EXPECT_EQ(end_of(0x66, 1), (Bytes{1, 1, 1}));
    EXPECT_EQ(end_of(0xe6, 0), (Bytes{0, 1, 1}));
    EXPECT_EQ(end_of(0xe6, 1), (Bytes{1, 0, 1}));
}

TEST_F(Floppy, WritesByDma) {
    settle();
    command({0x0f, 0, 1});
    const Bytes data(512, 0x5a);
    ASSERT_TRUE(vmem->write(0x8000, data.data(), data.size()));
    set_channel(0x8000, 512, 0x4a);
    EXPECT_EQ(command({0x45, 4, 1, 1, 3, 2, 18, 0x1b, 0xff})[0], 0x04);
    EXPECT_EQ(disk.bytes[((1 * 2 + 1) * 18 + 2) * 512], 0x5a);
}

TEST_F(Floppy, WithoutDmaSectorsComeThroughTheFifo) {
    settle();
    command({0x03, 0xdf, 0x03});
    for (u8 b : Bytes{0x46, 0, 0, 0, 1, 2, 1, 0x1b, 0xff}) out(kFifo, b);
    EXPECT_EQ(in(kMsr), 0xf0);
    EXPECT_TRUE(irq.level());
    const Bytes all = rest();
    ASSERT_EQ(all.size(), 512u + 7);
    EXPECT_TRUE(is_sector(all, 0, 0));
    EXPECT_EQ(all[513], 0x80);  // no terminal count: end of cylinder
    for (u8 b : Bytes{0x45, 0, 0, 0, 2, 2, 2, 0x1b, 0xff}) out(kFifo, b);
    EXPECT_EQ(in(kMsr), 0xb0);
    for (int i = 0; i < 512; ++i) out(kFifo, 0x33);
    EXPECT_EQ(rest().size(), 7u);
    EXPECT_EQ(disk.bytes[512], 0x33);
}

TEST_F(Floppy, FormatFillsTheSectorsThatAreListed) {
    settle();
    const Bytes ids = {0, 0, 1, 2, 0, 0, 2, 2};
    ASSERT_TRUE(vmem->write(0x8000, ids.data(), ids.size()));
    set_channel(0x8000, 8, 0x4a);
    EXPECT_EQ(command({0x4d, 0, 2, 2, 0x54, 0xf6})[1], 0);
    EXPECT_EQ(disk.bytes[0], 0xf6);
    EXPECT_EQ(disk.bytes[1023], 0xf6);
    EXPECT_EQ(disk.bytes[1024], MemoryDisk::pattern(1024));
}

TEST_F(Floppy, WhatIsNotThereIsNotFound) {
    settle();
    set_channel(0x8000, 512, 0x46);
    EXPECT_EQ(command({0x46, 0, 0, 0, 19, 2, 19, 0x1b, 0xff})[1], 0x04);
    EXPECT_EQ(command({0x46, 0, 5, 0, 1, 2, 18, 0x1b, 0xff})[2], 0x10);  // the head is elsewhere
    EXPECT_EQ(command({0x46, 1, 0, 0, 1, 2, 18, 0x1b, 0xff})[1], 0x01);  // no drive
    EXPECT_EQ(command({0x46, 0, 0, 0, 1, 1, 18, 0x1b, 0xff})[1], 0x04);  // no sectors of 256 bytes
    EXPECT_EQ(command({0x4a, 0})[0], 0);
    EXPECT_EQ(command({0x4a, 1})[1], 0x01);
}

TEST_F(Floppy, HostErrorsAndWriteProtectionAreReported) {
    settle();
    set_channel(0x8000, 512, 0x46);
    disk.failing = true;
    EXPECT_EQ(command({0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff})[1], 0x20);
    disk.failing = false;
    disk.is_read_only = true;
    EXPECT_EQ(command({0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff})[1], 0x02);
    EXPECT_EQ(command({0x04, 0}), Bytes{0x78});
}

TEST_F(Floppy, AMaskedChannelIsAnOverrun) {
    settle();
    EXPECT_EQ(command({0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff})[1], 0x10);
}

TEST_F(Floppy, NamesItselfAndKeepsItsConfiguration) {
    settle();
    EXPECT_EQ(command({0x10}), Bytes{0x90});
    EXPECT_EQ(command({0x94}), Bytes{0x10});
    command({0x13, 0, 0x57, 0x10});
    command({0x12, 0x04});
    settle();
    const Bytes registers = command({0x0e});
    ASSERT_EQ(registers.size(), 10u);
    EXPECT_EQ(registers[7], 0x84);
    EXPECT_EQ(registers[8], 0x57);
    EXPECT_EQ(command({0x14}), Bytes{0});
    EXPECT_EQ(command({0x1f}), Bytes{0x80});
}

TEST_F(Floppy, GeometryFollowsFromTheSize) {
    const auto is = [](u64 kib, unsigned tracks, unsigned heads, unsigned sectors) {
        const FloppyGeometry g = floppy_geometry(kib * 2);
        return g.tracks == tracks && g.heads == heads && g.sectors == sectors;
    };
    EXPECT_TRUE(is(160, 40, 1, 8));
    EXPECT_TRUE(is(180, 40, 1, 9));
    EXPECT_TRUE(is(320, 40, 2, 8));
    EXPECT_TRUE(is(360, 40, 2, 9));
    EXPECT_TRUE(is(720, 80, 2, 9));
    EXPECT_TRUE(is(1200, 80, 2, 15));
    EXPECT_TRUE(is(1440, 80, 2, 18));
    EXPECT_TRUE(is(2880, 80, 2, 36));
}

TEST_F(Floppy, SavedInTheMiddleOfASectorItGoesOn) {
    settle();
    command({0x03, 0xdf, 0x03});
    for (u8 b : Bytes{0x46, 0, 0, 0, 1, 2, 2, 0x1b, 0xff}) out(kFifo, b);
    for (int i = 0; i < 100; ++i) in(kFifo);
    const auto archive = saved(fdc);
    const Bytes expected = rest();
    fdc.reset();
    ASSERT_TRUE(load(fdc, archive));
    EXPECT_EQ(rest(), expected);
    for (std::size_t cut = 0; cut < archive.size(); cut += 11) {
        EXPECT_FALSE(load(fdc, Bytes(archive.begin(), archive.begin() + static_cast<std::ptrdiff_t>(cut))));
    }
}

TEST_F(Floppy, AnArchiveThatFormatsWithoutSuchACommandIsRefused) {
    settle();
    command({0x03, 0xdf, 0x03});
    for (u8 b : Bytes{0x4d, 0, 2, 18, 0x54, 0xf6}) out(kFifo, b);
    auto archive = saved(fdc);
    ASSERT_TRUE(load(fdc, archive));
    const Bytes formats = {6, 0, 0x4d, 0, 2, 18, 0x54, 0xf6}, senses = {2, 0, 0x04, 0};
    const auto at = std::search(archive.begin(), archive.end(), formats.begin(), formats.end());
    ASSERT_NE(at, archive.end());
    const auto place = archive.erase(at, at + static_cast<std::ptrdiff_t>(formats.size()));
    archive.insert(place, senses.begin(), senses.end());
    EXPECT_FALSE(load(fdc, archive));
}

// --- the DMA controllers
// ----------------------------------------------------------------------------------------------

TEST_F(Floppy, DmaStopsAtTheCountAndMasksTheChannel) {
    set_channel(0x1fffe, 3, 0x46);
    const Bytes data = {1, 2, 3, 4};
    EXPECT_EQ(dma.to_memory(2, data), 3u);
    EXPECT_TRUE(dma.terminal_count(2));
    EXPECT_EQ(dma.read(8, 1), 4u);
    EXPECT_EQ(dma.read(8, 1), 0u);
    EXPECT_EQ(dma.to_memory(2, data), 0u);
    u8 wrapped = 0;  // within 64 KiB
    ASSERT_TRUE(vmem->read(0x10000, &wrapped, 1));
    EXPECT_EQ(wrapped, 3);
}

TEST_F(Floppy, DmaAutoInitializesAndCountsDown) {
    set_channel(0x8001, 2, 0x76);
    const Bytes data = {1, 2};
    EXPECT_EQ(dma.to_memory(2, data), 2u);
    EXPECT_EQ(dma.to_memory(2, data), 2u);
    std::array<u8, 2> bytes{};
    ASSERT_TRUE(vmem->read(0x8000, bytes.data(), 2));
    EXPECT_EQ(bytes, (std::array<u8, 2>{2, 1}));
}

TEST_F(Floppy, DmaChannelsOfTheSecondChipMoveWords) {
    const auto words = [&](u64 reg, u8 value) { dma.write(Dma8237Pair::kWords + 2 * reg, 1, value); };
    words(0x0c, 0);
    words(2, 0x00);
    words(2, 0x40);
    words(3, 1);
    words(3, 0);
    dma.write(Dma8237Pair::kPages + 0xb, 1, 1);
    words(0x0b, 0x45);
    words(0x0a, 1);
    const Bytes data = {1, 2, 3, 4, 5, 6};
    EXPECT_EQ(dma.to_memory(5, data), 4u);
    u32 value = 0;
    ASSERT_TRUE(vmem->read_value(0x8000, value));
    EXPECT_EQ(value, 0x04030201u);
}

TEST_F(Floppy, DmaGoesOneWayAndOutsideMemoryNowhere) {
    set_channel(0x8000, 4, 0x4a);
    EXPECT_EQ(dma.to_memory(2, Bytes{1, 2}), 0u);
    set_channel(0xff0000, 4, 0x4a);
    Bytes data = {1, 2};
    EXPECT_EQ(dma.from_memory(2, data), 2u);
    EXPECT_EQ(data, (Bytes{0xff, 0xff}));
}

TEST_F(Floppy, DmaIsSavedAndLoaded) {
    set_channel(0x1234, 4, 0x46);
    Dma8237Pair other(*vmem);
    ASSERT_TRUE(load(other, saved(dma)));
    EXPECT_EQ(other.read(4, 1), 0x34u);
    EXPECT_EQ(other.read(4, 1), 0x12u);
    EXPECT_EQ(other.to_memory(2, Bytes{1, 2, 3, 4, 5}), 4u);
}

}  // namespace
}  // namespace dualvm::devices
