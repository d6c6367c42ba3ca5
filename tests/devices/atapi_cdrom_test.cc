#include "ide_test.h"

namespace dualvm::devices {
namespace {

class Atapi : public IdeTest {
protected:
    Atapi() {
        ide.attach(1, 0, std::make_unique<AtapiCdrom>(&disc, 2));
        ide.attach(1, 1, std::make_unique<AtapiCdrom>(nullptr, 3));
        base = Piix3Ide::kChannelStride;
    }
    void send(std::vector<u8> packet, unsigned limit = 0xfffe, bool dma = false) {
        packet.resize(12);
        out(ata::kFeatures, dma ? 1 : 0);
        out(ata::kMid, limit & 0xff);
        out(ata::kHigh, limit >> 8);
        out(ata::kCommand, 0xa0);
        EXPECT_EQ(in(ata::kCount), 1u);  // the drive wants a command
        for (std::size_t i = 0; i < 12; i += 2) ide.write(base, 2, packet[i] | packet[i + 1] << 8);
    }
    // All that the drive has to give.
    std::vector<u8> answer() {
        std::vector<u8> all;
        while (requests_data()) {
            const unsigned bytes = in(ata::kMid) | in(ata::kHigh) << 8;
            for (u8 b : read_data(bytes)) all.push_back(b);
        }
        return all;
    }
    std::vector<u8> ask(std::vector<u8> packet) {
        send(std::move(packet));
        return answer();
    }
    // Sense key, code and qualifier.
    std::vector<u8> sense() {
        const auto data = ask({0x03, 0, 0, 0, 18});
        return {data[2], data[12], data[13]};
    }
    void settle() { ask({0x03, 0, 0, 0, 18}); }  // takes the unit attention after power-on

    MemoryDisk disc{4 * 100};  // 100 blocks
};

TEST_F(Atapi, ResetShowsThePacketSignature) {
    control(4);
    control(0);
    EXPECT_EQ(in(ata::kMid), 0x14u);
    EXPECT_EQ(in(ata::kHigh), 0xebu);
    EXPECT_EQ(status(), 0u);
}

TEST_F(Atapi, IdentifyDeviceAbortsAndIdentifyPacketDeviceAnswers) {
    out(ata::kCommand, 0xec);
    EXPECT_TRUE(failed_with(ata::kAborted));
    EXPECT_EQ(in(ata::kHigh), 0xebu);
    out(ata::kCommand, 0xa1);
    const auto id = read_data(512);
    EXPECT_EQ(id[1], 0x85);
    EXPECT_TRUE(ready());
}

TEST_F(Atapi, TheFirstCommandAfterPowerOnIsRefusedOnce) {
    send({0x00});
    EXPECT_TRUE(failed_with(0x60 | ata::kAborted));
    EXPECT_EQ(sense(), (std::vector<u8>{6, 0x29, 0}));
    send({0x00});
    EXPECT_TRUE(ready());
    EXPECT_EQ(in(ata::kCount), 3u);
}

TEST_F(Atapi, InquiryIsAnsweredFirst) {
    const auto data = ask({0x12, 0, 0, 0, 36});
    ASSERT_EQ(data.size(), 36u);
    EXPECT_EQ(data[0], 5);
    EXPECT_EQ(ask({0x12, 0, 0, 0, 8}).size(), 8u);
}

TEST_F(Atapi, CapacityIsTheLastBlock) {
    settle();
    EXPECT_EQ(ask({0x25}), (std::vector<u8>{0, 0, 0, 99, 0, 0, 8, 0}));
}

TEST_F(Atapi, ReadGivesBlocksInPiecesOfTheByteCountLimit) {
    settle();
    irq15.take_rises();
    send({0x28, 0, 0, 0, 0, 40, 0, 0, 35}, 3000);
    EXPECT_EQ(in(ata::kMid) | in(ata::kHigh) << 8, 3000);
    EXPECT_EQ(in(ata::kCount), 2u);
    const auto data = answer();
    ASSERT_EQ(data.size(), 35u * 2048);
    for (unsigned i = 0; i < 35 * 4; ++i) EXPECT_TRUE(is_sector(data, i * 512, 160 + i));
    EXPECT_EQ(in(ata::kCount), 3u);
    EXPECT_TRUE(ready());
}

TEST_F(Atapi, TheByteCountLimitHoldsForTheWholeCommand) {
    settle();
    irq15.take_rises();
    send({0x28, 0, 0, 0, 0, 0, 0, 0, 96}, 0x7800);  // 192 KiB: three times 64, each of which ends in a short piece
    std::vector<unsigned> pieces;
    while (requests_data()) {
        pieces.push_back(in(ata::kMid) | in(ata::kHigh) << 8);
        read_data(pieces.back());
    }
    EXPECT_EQ(pieces, (std::vector<unsigned>{0x7800, 0x7800, 0x1000, 0x7800, 0x7800, 0x1000, 0x7800, 0x7800, 0x1000}));
}

TEST_F(Atapi, ReadByDma) {
    settle();
    entry(0, 0x20000, 0, false);
    entry(1, 0x30000, 0x8000, true);
    send({0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 48}, 0, true);
    start_dma(true);
    EXPECT_EQ(master_status(), 0x04);
    EXPECT_TRUE(ready());
    std::vector<u8> data(48 * 2048);
    ASSERT_TRUE(vmem->read(0x20000, data.data(), data.size()));
    EXPECT_TRUE(is_sector(data, 0, 4));
    EXPECT_TRUE(is_sector(data, 47 * 2048, 48 * 4));
}

TEST_F(Atapi, PastTheEndThereIsNoBlock) {
    settle();
    send({0x28, 0, 0, 0, 0, 99, 0, 0, 2});
    EXPECT_TRUE(failed_with(0x50 | ata::kAborted));
    EXPECT_EQ(sense(), (std::vector<u8>{5, 0x21, 0}));
    send({0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
    EXPECT_EQ(sense(), (std::vector<u8>{5, 0x21, 0}));
}

TEST_F(Atapi, AnUnreadableDiscIsAMediumError) {
    settle();
    disc.failing = true;
    send({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
    EXPECT_EQ(sense(), (std::vector<u8>{3, 0x11, 0}));
}

TEST_F(Atapi, AnEmptyDriveSaysSo) {
    out(ata::kDevice, kSlave);
    settle();
    for (const u8 command : std::vector<u8>{0x00, 0x25, 0x28, 0x43, 0x51}) {
        send({command});
        EXPECT_EQ(sense(), (std::vector<u8>{2, 0x3a, 0})) << int{command};
    }
}

TEST_F(Atapi, ReadCdGivesUserDataAlone) {
    settle();
    EXPECT_TRUE(is_sector(ask({0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0x10}), 0, 12));
    send({0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0xf8});
    EXPECT_EQ(sense(), (std::vector<u8>{5, 0x24, 0}));
}

TEST_F(Atapi, TocHasOneDataTrack) {
    settle();
    EXPECT_EQ(ask({0x43, 0, 0, 0, 0, 0, 0, 0xff, 0xff}),
              (std::vector<u8>{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, 100}));
    // Minutes, seconds and frames, the lead-out alone.
    EXPECT_EQ(ask({0x43, 2, 0, 0, 0, 0, 0xaa, 0, 12}), (std::vector<u8>{0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 3, 25}));
    EXPECT_EQ(ask({0x43, 0, 1, 0, 0, 0, 0, 0, 12}).size(), 12u);
    EXPECT_EQ(ask({0x43, 2, 2, 0, 0, 0, 0, 1, 0}).size(), 4u + 4 * 11);
    send({0x43, 0, 5, 0, 0, 0, 0, 1, 0});
    EXPECT_EQ(sense(), (std::vector<u8>{5, 0x24, 0}));
}

TEST_F(Atapi, ALockedTrayStaysShut) {
    settle();
    send({0x1e, 0, 0, 0, 1});
    send({0x1b, 0, 0, 0, 2});
    EXPECT_EQ(sense(), (std::vector<u8>{5, 0x53, 2}));
    send({0x1e, 0, 0, 0, 0});
    send({0x1b, 0, 0, 0, 2});
    EXPECT_TRUE(ready());
    send({0x00});
    EXPECT_EQ(sense(), (std::vector<u8>{2, 0x3a, 0}));
}

TEST_F(Atapi, ALoadedDiscIsANewOne) {
    settle();
    send({0x1b, 0, 0, 0, 2});
    send({0x1b, 0, 0, 0, 3});
    EXPECT_EQ(ask({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}), (std::vector<u8>{0, 6, 4, 0x10, 2, 2, 0, 0}));
    send({0x00});
    EXPECT_EQ(sense(), (std::vector<u8>{6, 0x28, 0}));
}

TEST_F(Atapi, ConfigurationHasTheCdProfile) {
    const auto data = ask({0x46, 0, 0, 0, 0, 0, 0, 1, 0});
    EXPECT_EQ(data[7], 0x08);
    EXPECT_EQ(data.size(), data[3] + 4u);
    EXPECT_EQ(ask({0x46, 2, 0, 0x1e, 0, 0, 0, 1, 0}).size(), 16u);
}

TEST_F(Atapi, ModePagesDiscTrackAndMechanismAreTold) {
    settle();
    EXPECT_EQ(ask({0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0}).size(), 28u);
    EXPECT_EQ(ask({0x1a, 0, 0x3f, 0, 255}).size(), 4u + 8 + 16 + 20);
    EXPECT_EQ(ask({0x51, 0, 0, 0, 0, 0, 0, 1, 0}).size(), 34u);
    EXPECT_EQ(ask({0x52, 1, 0, 0, 0, 1, 0, 1, 0}).size(), 36u);
    EXPECT_EQ(ask({0xbd, 0, 0, 0, 0, 0, 0, 0, 1, 0}).size(), 8u);
}

TEST_F(Atapi, UnknownPacketsAreRefused) {
    settle();
    send({0xff});
    EXPECT_EQ(sense(), (std::vector<u8>{5, 0x20, 0}));
}

TEST_F(Atapi, DeviceResetKeepsTheDriveSelected) {
    out(ata::kDevice, kSlave);
    out(ata::kCommand, 0x08);
    EXPECT_EQ(in(ata::kDevice)&0x10, 0x10);
    EXPECT_EQ(in(ata::kHigh), 0xebu);
    EXPECT_FALSE(irq15.level());
}

TEST_F(Atapi, SavedInTheMiddleOfAReadItGoesOn) {
    settle();
    send({0x28, 0, 0, 0, 0, 0, 0, 0, 40}, 2048);
    read_data(2048 + 100);
    const auto archive = saved(ide);
    const auto rest = read_data(39 * 2048 - 100);
    ide.reset();
    ASSERT_TRUE(load(ide, archive));
    EXPECT_EQ(read_data(39 * 2048 - 100), rest);
    EXPECT_TRUE(ready());
}

}  // namespace
}  // namespace dualvm::devices
