#include "ide_test.h"

namespace dualvm::devices {
namespace {

class Ata : public IdeTest {
protected:
    Ata() { ide.attach(0, 0, std::make_unique<AtaDisk>(disk, 0)); }
    u16 word(const std::vector<u8>& data, unsigned index) {
        return static_cast<u16>(data[2 * index] | data[2 * index + 1] << 8);
    }
    MemoryDisk disk{2 * 16 * 63};  // two cylinders
};

TEST_F(Ata, IdentifySaysHowLargeItIs) {
    command28(0xec, 0, 0);
    ASSERT_TRUE(requests_data());
    const auto id = read_data(512);
    EXPECT_TRUE(ready());
    EXPECT_EQ(word(id, 1), 2u);
    EXPECT_EQ(word(id, 3), 16u);
    EXPECT_EQ(word(id, 6), 63u);
    EXPECT_EQ(word(id, 60), 2016u);
    EXPECT_EQ(word(id, 100), 2016u);
    EXPECT_EQ(word(id, 27), 'D' << 8 | 'U');
}

TEST_F(Ata, ReadSectorsInterruptsForEachOne) {
    command28(0x20, 5, 2);
    EXPECT_EQ(irq14.take_rises(), 1);
    EXPECT_EQ(status(), ata::kReady | ata::kSeekComplete | ata::kDataRequest);
    EXPECT_FALSE(irq14.level());
    EXPECT_TRUE(is_sector(read_data(512), 0, 5));
    EXPECT_EQ(irq14.take_rises(), 1);
    status();
    EXPECT_TRUE(is_sector(read_data(512), 0, 6));
    EXPECT_EQ(irq14.take_rises(), 0);
    EXPECT_TRUE(ready());
}

TEST_F(Ata, ACountOfZeroIs256Sectors) {
    command28(0x20, 0, 0);
    const auto data = read_data(256 * 512);
    EXPECT_TRUE(is_sector(data, 255 * 512, 255));
    EXPECT_TRUE(ready());
}

TEST_F(Ata, ReadMultipleAsksOnceForABlock) {
    command28(0xc6, 0, 4);
    command28(0xc4, 1, 6);
    status();
    irq14.take_rises();
    const auto data = read_data(6 * 512);
    EXPECT_EQ(irq14.take_rises(), 1);  // for the two sectors behind the first four
    EXPECT_TRUE(is_sector(data, 5 * 512, 6));
    command28(0xc6, 0, 0);
    command28(0xc4, 1, 6);
    EXPECT_TRUE(failed_with(ata::kAborted));
    command28(0xc6, 0, 3);
    EXPECT_TRUE(failed_with(ata::kAborted));
}

TEST_F(Ata, SectorsAreNumberedWith48Bits) {
    command48(0x24, 2015, 1);
    EXPECT_TRUE(is_sector(read_data(512), 0, 2015));
    command48(0x24, 0x0100'0000'0000, 1);
    EXPECT_TRUE(failed_with(ata::kIdNotFound));
}

TEST_F(Ata, HighOrderBytesShowTheOlderValue) {
    out(ata::kCount, 0x12);
    out(ata::kCount, 0x34);
    EXPECT_EQ(in(ata::kCount), 0x34u);
    control(0x80);
    EXPECT_EQ(in(ata::kCount), 0x12u);
    out(ata::kLow, 1);
    EXPECT_EQ(in(ata::kCount), 0x34u);
}

TEST_F(Ata, CylindersHeadsAndSectorsAreTranslated) {
    out(ata::kDevice, 0xa0 | 3);
    out(ata::kCount, 1);
    out(ata::kLow, 2);
    out(ata::kMid, 1);
    out(ata::kHigh, 0);
    out(ata::kCommand, 0x20);
    EXPECT_TRUE(is_sector(read_data(512), 0, (1 * 16 + 3) * 63 + 1));
    out(ata::kLow, 0);  // sectors are numbered from 1
    out(ata::kCommand, 0x20);
    EXPECT_TRUE(failed_with(ata::kIdNotFound));
}

TEST_F(Ata, InitializeParametersSetsAnotherGeometry) {
    out(ata::kDevice, 0xa0 | 3);  // 4 heads
    out(ata::kCount, 10);
    out(ata::kCommand, 0x91);
    out(ata::kDevice, 0xa0 | 1);
    out(ata::kCount, 1);
    out(ata::kLow, 1);
    out(ata::kMid, 2);
    out(ata::kHigh, 0);
    out(ata::kCommand, 0x20);
    EXPECT_TRUE(is_sector(read_data(512), 0, (2 * 4 + 1) * 10));
}

TEST_F(Ata, WritesReachTheDiskAndInterruptWhenTheyAreThere) {
    command28(0x30, 7, 2);
    EXPECT_EQ(irq14.take_rises(), 0);
    write_data(512, 0x11);
    EXPECT_EQ(irq14.take_rises(), 1);
    EXPECT_EQ(disk.bytes[7 * 512], 0x11);
    status();
    write_data(512, 0x22);
    EXPECT_EQ(irq14.take_rises(), 1);
    EXPECT_EQ(disk.bytes[8 * 512 + 511], 0x22);
    EXPECT_TRUE(ready());
}

TEST_F(Ata, FlushReachesTheDisk) {
    command28(0xe7, 0, 0);
    EXPECT_EQ(disk.flushes, 1);
    command48(0xea, 0, 0);
    EXPECT_EQ(disk.flushes, 2);
}

TEST_F(Ata, WithoutWriteCacheEveryWriteIsFlushed) {
    out(ata::kFeatures, 0x82);
    command28(0xef, 0, 0);
    const int before = disk.flushes;
    command28(0x30, 7, 1);
    write_data(512, 1);
    EXPECT_EQ(disk.flushes, before + 1);
}

TEST_F(Ata, PastTheEndThereIsNoSector) {
    command28(0x20, 2015, 2);
    EXPECT_TRUE(failed_with(ata::kIdNotFound));
    command28(0xca, 0x0fffffff, 1);
    EXPECT_TRUE(failed_with(ata::kIdNotFound));
}

TEST_F(Ata, AReadErrorNamesTheSector) {
    disk.failing = true;
    command28(0x20, 0x123, 1);
    EXPECT_TRUE(failed_with(ata::kUncorrectable));
    EXPECT_EQ(in(ata::kLow), 0x23u);
    EXPECT_EQ(in(ata::kMid), 0x01u);
}

TEST_F(Ata, AFullHostIsAWriteThatAborts) {
    command28(0x30, 7, 1);
    disk.failing = true;
    write_data(512, 1);
    EXPECT_TRUE(failed_with(ata::kAborted));
    EXPECT_EQ(disk.bytes[7 * 512], MemoryDisk::pattern(7 * 512));
}

TEST_F(Ata, AReadOnlyDiskIsWriteProtected) {
    disk.is_read_only = true;
    command28(0x30, 7, 1);
    EXPECT_TRUE(failed_with(ata::kAborted | ata::kWriteProtected));
    EXPECT_FALSE(requests_data());
}

TEST_F(Ata, VerifyReadsWithoutData) {
    command28(0x40, 0, 200);
    EXPECT_TRUE(ready());
    disk.failing = true;
    command28(0x40, 0, 1);
    EXPECT_TRUE(failed_with(ata::kUncorrectable));
}

TEST_F(Ata, UnknownCommandsAbort) {
    for (unsigned command : {0x00u, 0x08u, 0xa0u, 0xa1u, 0xfeu}) {
        command28(command, 0, 0);
        EXPECT_TRUE(failed_with(ata::kAborted)) << command;
    }
}

TEST_F(Ata, NativeMaximumIsTheLastSector) {
    command28(0xf8, 0, 0);
    EXPECT_EQ(in(ata::kLow) | in(ata::kMid) << 8, 2015);
}

TEST_F(Ata, InterruptsCanBeKeptFromTheWire) {
    control(2);
    command28(0xe7, 0, 0);
    EXPECT_FALSE(irq14.level());
    control(0);
    EXPECT_TRUE(irq14.level());
    alternate_status();
    EXPECT_TRUE(irq14.level());
    status();
    EXPECT_FALSE(irq14.level());
}

TEST_F(Ata, SoftwareResetShowsTheSignature) {
    command28(0x20, 5, 2);
    control(4);
    EXPECT_EQ(alternate_status(), ata::kBusy);
    control(0);
    EXPECT_TRUE(ready());
    EXPECT_EQ(in(ata::kErrorRegister), 1u);
    EXPECT_EQ(in(ata::kCount), 1u);
    EXPECT_EQ(in(ata::kLow), 1u);
    EXPECT_EQ(in(ata::kMid), 0u);
    EXPECT_EQ(in(ata::kHigh), 0u);
    EXPECT_FALSE(irq14.level());
}

TEST_F(Ata, DiagnosticsPassAndInterrupt) {
    command28(0x90, 0, 0, kSlave);
    EXPECT_TRUE(irq14.level());
    EXPECT_EQ(in(ata::kErrorRegister), 1u);
    EXPECT_EQ(in(ata::kDevice)&0x10, 0);
}

TEST_F(Ata, Device0SpeaksForBothAfterDiagnostics) {
    MemoryDisk second{16};
    ide.attach(0, 1, std::make_unique<AtaDisk>(second, 1));
    out(ata::kCommand, 0x90);
    EXPECT_EQ(irq14.take_rises(), 1);
    status();
    out(ata::kDevice, kSlave);
    EXPECT_EQ(irq14.take_rises(), 0);
}

TEST_F(Ata, AnAbsentSlaveReadsAsZeroAndAnEmptyCableFloats) {
    out(ata::kDevice, kSlave);
    EXPECT_EQ(status(), 0u);
    out(ata::kCommand, 0xec);
    EXPECT_EQ(status(), 0u);
    base = Piix3Ide::kChannelStride;
    EXPECT_EQ(status(), 0xffu);
    EXPECT_EQ(in(ata::kCount), 0xffu);
}

TEST_F(Ata, AChannelThatIsSwitchedOffDoesNotAnswer) {
    ide.write_config(0x41, 1, 0);
    EXPECT_EQ(status(), 0xffu);
    ide.write_config(0x41, 1, 0x80);
    EXPECT_TRUE(ready());
}

// --- bus master ------------------------------------------------------------------------------------------------------

TEST_F(Ata, DmaReadsIntoTheRegionsOfTheTable) {
    entry(0, 0x2000, 0x300, false);
    entry(1, 0x8000, 0x500, true);
    command28(0xc8, 9, 4);
    EXPECT_FALSE(irq14.level());
    start_dma(true);
    EXPECT_EQ(master_status(), 0x04);
    EXPECT_TRUE(irq14.level());
    EXPECT_TRUE(ready());
    std::vector<u8> data(4 * 512);
    ASSERT_TRUE(vmem->read(0x2000, data.data(), 0x300));
    ASSERT_TRUE(vmem->read(0x8000, data.data() + 0x300, 0x500));
    for (unsigned i = 0; i < 4; ++i) EXPECT_TRUE(is_sector(data, i * 512, 9 + i));
    EXPECT_TRUE(vmem->is_dirty(0x8000));
}

TEST_F(Ata, DmaMayBeStartedBeforeTheCommand) {
    entry(0, 0x2000, 512, true);
    start_dma(true);
    EXPECT_EQ(master_status(), 0x01);
    command28(0xc8, 9, 1);
    EXPECT_EQ(master_status(), 0x04);
}

TEST_F(Ata, DmaTellsTheObserverOfWrites) {
    u64 told = 0;
    vmem->add_write_observer([&](u64 address, u64 size) { told = address >= 0x2000 ? told + size : told; });
    entry(0, 0x2000, 512, true);
    command28(0xc8, 9, 1);
    start_dma(true);
    EXPECT_EQ(told, 512u);
}

TEST_F(Ata, DmaWrites) {
    const std::vector<u8> data(0x10000, 0x77);
    ASSERT_TRUE(vmem->write(0x20000, data.data(), data.size()));
    entry(0, 0x20000, 0, true);  // 0: 64 KiB
    command48(0x35, 100, 128);
    start_dma(false);
    EXPECT_EQ(master_status(), 0x04);
    EXPECT_TRUE(ready());
    EXPECT_EQ(disk.bytes[100 * 512], 0x77);
    EXPECT_EQ(disk.bytes[228 * 512 - 1], 0x77);
    EXPECT_EQ(disk.bytes[228 * 512], MemoryDisk::pattern(228 * 512));
}

TEST_F(Ata, ATableLargerThanTheTransferLeavesTheMasterActive) {
    entry(0, 0x2000, 0x1000, true);
    command28(0xc8, 9, 1);
    start_dma(true);
    EXPECT_EQ(master_status(), 0x05);
    ide.write(master(), 1, 8);
    EXPECT_EQ(master_status(), 0x04);
}

TEST_F(Ata, ATableSmallerThanTheTransferEndsWithoutInterrupt) {
    entry(0, 0x2000, 512, true);
    command28(0xc8, 9, 2);
    start_dma(true);
    EXPECT_EQ(master_status(), 0x00);
    EXPECT_FALSE(irq14.level());
}

TEST_F(Ata, DmaOutsideMemoryIsAnErrorAndWritesNothing) {
    entry(0, 0xffe00, 0x400, true);  // half of it
    command28(0xc8, 9, 2);
    start_dma(true);
    EXPECT_EQ(master_status(), 0x06);
    EXPECT_TRUE(failed_with(ata::kAborted));
    u8 last = 1;
    ASSERT_TRUE(vmem->read(0xffe00, &last, 1));
    EXPECT_EQ(last, 0);
}

TEST_F(Ata, ATableOutsideMemoryIsAnError) {
    command28(0xc8, 9, 2);
    ide.write(master() + 4, 4, 0xfffffffc);
    ide.write(master(), 1, 9);
    EXPECT_EQ(master_status(), 0x06);
    EXPECT_TRUE(failed_with(ata::kAborted));
}

TEST_F(Ata, ATableThatIsOverwrittenByItsOwnTransferEnds) {
    for (unsigned i = 0; i < 64; ++i) entry(i, kTable, 512, false);
    command28(0xc8, 0, 0);
    start_dma(true);
    EXPECT_EQ(master_status() & 1, 0);
}

TEST_F(Ata, ATableWithoutEndStopsAtItsBoundary) {
    const u32 entry[2] = {0x40000, 2};  // two bytes each
    for (u32 at = 0; at < 0x10000; at += 8) ASSERT_TRUE(vmem->write_value(0x30000 + at, entry));
    command48(0x25, 0, 256);
    ide.write(master() + 4, 4, 0x30000);
    ide.write(master(), 1, 9);
    EXPECT_EQ(master_status() & 3, 2);
    EXPECT_TRUE(failed_with(ata::kAborted));
}

TEST_F(Ata, AnErrorThatNobodyHasClearedFailsNoLaterTransfer) {
    entry(0, 0xfff00000, 512, true);
    command28(0xc8, 9, 1);
    start_dma(true);
    ASSERT_EQ(master_status() & 2, 2);
    entry(0, 0x2000, 512, true);
    ide.write(master(), 1, 8);
    ide.write(master() + 2, 1, 4);  // the interrupt alone
    command28(0xc8, 9, 1);
    ide.write(master(), 1, 9);
    EXPECT_EQ(master_status(), 0x06);
    EXPECT_TRUE(ready());
    std::vector<u8> data(512);
    ASSERT_TRUE(vmem->read(0x2000, data.data(), data.size()));
    EXPECT_TRUE(is_sector(data, 0, 9));
}

TEST_F(Ata, BusMasteringMayBeSwitchedOnLast) {
    ide.write_config(pci::kCommand, 2, pci::kDecodePorts);
    entry(0, 0x2000, 512, true);
    command28(0xc8, 9, 1);
    start_dma(true);
    ide.write_config(pci::kCommand, 2, pci::kDecodePorts | pci::kBusMaster);
    EXPECT_TRUE(irq14.level());
    EXPECT_EQ(master_status(), 0x04);
}

// Who looks at the alternate status leaves the request up; the next command takes it down before it makes its own.
TEST_F(Ata, EachCommandHasAnInterruptOfItsOwn) {
    for (int i = 0; i < 3; ++i) {
        irq14.take_rises();
        command28(0x20, 5, 1);
        EXPECT_EQ(irq14.take_rises(), 1) << i;
        read_data(512);
        EXPECT_TRUE(irq14.level()) << i;
    }
}

TEST_F(Ata, DriveAndMasterMustGoTheSameWay) {
    entry(0, 0x2000, 512, true);
    command28(0xc8, 9, 1);
    start_dma(false);
    EXPECT_EQ(master_status() & 3, 2);
    EXPECT_TRUE(failed_with(ata::kAborted));
}

TEST_F(Ata, WithoutBusMasteringNothingMoves) {
    ide.write_config(pci::kCommand, 2, pci::kDecodePorts);
    entry(0, 0x2000, 512, true);
    command28(0xc8, 9, 1);
    start_dma(true);
    EXPECT_EQ(master_status(), 0x01);
    EXPECT_FALSE(irq14.level());
}

// --- archives --------------------------------------------------------------------------------------------------------

TEST_F(Ata, SavedInTheMiddleOfAReadItGoesOn) {
    command28(0x20, 5, 3);
    read_data(512 + 100);
    const auto archive = saved(ide);
    const auto rest = read_data(2 * 512 - 100);
    ide.reset();
    ASSERT_TRUE(load(ide, archive));
    EXPECT_EQ(read_data(2 * 512 - 100), rest);
    EXPECT_TRUE(ready());
}

TEST_F(Ata, ATransferThatWaitsIsGoneWithTheStateThatALoadReplaces) {
    const auto archive = saved(ide);
    ide.write_config(pci::kCommand, 2, pci::kDecodePorts);  // no bus mastering: it waits
    entry(0, 0x2000, 512, true);
    command28(0xc8, 9, 1);
    start_dma(true);
    ASSERT_TRUE(load(ide, archive));
    u32 there = 1;
    ASSERT_TRUE(vmem->read_value(0x2000, there));
    EXPECT_EQ(there, 0u);
}

TEST_F(Ata, AnArchiveThatPointsOutsideIsRefused) {
    command28(0x20, 5, 3);
    auto archive = saved(ide);
    for (std::size_t cut = 0; cut < archive.size(); cut += 37) {
        EXPECT_FALSE(load(ide, std::vector<u8>(archive.begin(), archive.begin() + static_cast<std::ptrdiff_t>(cut))));
    }
    EXPECT_TRUE(ready());
}

}  // namespace
}  // namespace dualvm::devices
