// The mouse, behind the controller's second port.
#include "i8042_test.h"

namespace dualvm::devices {
namespace {

class MouseTest : public OnI8042 {
protected:
    Bytes ask(unsigned byte) {
        to_mouse(byte);
        return answers();
    }
    void set_rate(unsigned rate) {
        EXPECT_EQ(ask(0xf3), Bytes{0xfa});
        EXPECT_EQ(ask(rate), Bytes{0xfa});
    }
    Ps2Mouse& mouse() { return i8042.mouse(); }
};

TEST_F(MouseTest, ResetsAndIdentifiesItself) {
    EXPECT_EQ(ask(0xff), (Bytes{0xfa, 0xaa, 0x00}));
    EXPECT_EQ(ask(0xf2), (Bytes{0xfa, 0x00}));
    EXPECT_EQ(ask(0x00), Bytes{0xfe});
}

TEST_F(MouseTest, AnswersComeFromTheSecondPortAndAreNotTranslated) {
    command(0x60, 0x47);
    to_mouse(0xe9);
    EXPECT_EQ(status() & 0x21, 0x21u);
    EXPECT_TRUE(irq12.level());
    EXPECT_EQ(answers(), (Bytes{0xfa, 0x00, 0x02, 0x64}));
}

TEST_F(MouseTest, TellsItsSettings) {
    set_rate(40);
    ask(0xe8);
    EXPECT_EQ(ask(3), Bytes{0xfa});
    ask(0xe7);
    ask(0xf4);
    mouse().set_buttons(Ps2Mouse::kLeft);
    EXPECT_EQ(ask(0xe9), (Bytes{0xfa, 0x34, 3, 40}));
    EXPECT_EQ(ask(0xf6), Bytes{0xfa});
    EXPECT_EQ(ask(0xe9), (Bytes{0xfa, 0x04, 2, 100}));
}

TEST_F(MouseTest, RefusesRatesAndResolutionsThatItHasNot) {
    ask(0xf3);
    EXPECT_EQ(ask(33), Bytes{0xfe});
    ask(0xe8);
    EXPECT_EQ(ask(4), Bytes{0xfe});
}

TEST_F(MouseTest, IsSilentUntilItIsEnabled) {
    mouse().move(5, 5);
    EXPECT_EQ(all_that_comes(), Bytes{});
    EXPECT_EQ(ask(0xf4), Bytes{0xfa});
    EXPECT_EQ(all_that_comes(), Bytes{}) << "what was before does not count";
    mouse().move(5, -3);
    EXPECT_EQ(all_that_comes(), (Bytes{0x28, 5, 0xfd}));
    mouse().set_buttons(Ps2Mouse::kRight | Ps2Mouse::kMiddle);
    EXPECT_EQ(all_that_comes(), (Bytes{0x0e, 0, 0}));
    EXPECT_EQ(ask(0xf5), Bytes{0xfa});
    mouse().move(1, 1);
    EXPECT_EQ(all_that_comes(), Bytes{});
}

TEST_F(MouseTest, GathersMovementBetweenSamples) {
    ask(0xf4);
    mouse().move(1, 0);
    mouse().move(2, 0);
    mouse().move(3, 0);
    EXPECT_EQ(all_that_comes(), (Bytes{0x08, 1, 0, 0x08, 5, 0}));
}

TEST_F(MouseTest, SendsNoMorePacketsThanTheRate) {
    set_rate(10);
    ask(0xf4);
    int packets = 0;
    for (int i = 0; i < 1000; ++i) {
        mouse().move(1, 1);
        pass(clock(), 1'000'000);
        packets += static_cast<int>(answers().size());
    }
    EXPECT_EQ(packets / 3, 10);
}

TEST_F(MouseTest, LongMovementIsSeveralPackets) {
    ask(0xf4);
    mouse().move(-300, 400);
    EXPECT_EQ(all_that_comes(), (Bytes{0x18, 0x01, 0xff, 0x18, 0xd3, 0x91}));
}

TEST_F(MouseTest, ScalesByTwoInStreamModeOnly) {
    ask(0xe7);
    ask(0xf4);
    mouse().move(3, 10);
    EXPECT_EQ(all_that_comes(), (Bytes{0x08, 3, 20}));
    ask(0xf0);
    mouse().move(3, 10);
    EXPECT_EQ(ask(0xeb), (Bytes{0xfa, 0x08, 3, 10}));
}

TEST_F(MouseTest, InRemoteModeItWaitsToBeAsked) {
    ask(0xf4);
    EXPECT_EQ(ask(0xf0), Bytes{0xfa});
    mouse().move(7, 0);
    EXPECT_EQ(all_that_comes(), Bytes{});
    EXPECT_EQ(ask(0xeb), (Bytes{0xfa, 0x08, 7, 0}));
    EXPECT_EQ(ask(0xeb), (Bytes{0xfa, 0x08, 0, 0}));
    EXPECT_EQ(ask(0xea), Bytes{0xfa});
    mouse().move(7, 0);
    EXPECT_EQ(all_that_comes(), (Bytes{0x08, 7, 0}));
}

TEST_F(MouseTest, InWrapModeItEchoes) {
    EXPECT_EQ(ask(0xee), Bytes{0xfa});
    EXPECT_EQ(ask(0xf4), Bytes{0xf4});
    EXPECT_EQ(ask(0x12), Bytes{0x12});
    EXPECT_EQ(ask(0xec), Bytes{0xfa});
    EXPECT_EQ(ask(0xf4), Bytes{0xfa});
}

TEST_F(MouseTest, GrowsAWheelForWhoKnowsTheWord) {
    for (unsigned rate : {200u, 100u, 80u}) set_rate(rate);
    EXPECT_EQ(ask(0xf2), (Bytes{0xfa, 3}));
    ask(0xf4);
    mouse().move(1, 2, -1);
    EXPECT_EQ(all_that_comes(), (Bytes{0x08, 1, 2, 0xff}));
    for (unsigned rate : {200u, 200u, 80u}) set_rate(rate);
    EXPECT_EQ(ask(0xf2), (Bytes{0xfa, 4}));
    mouse().move(0, 0, 1);
    EXPECT_EQ(all_that_comes(), (Bytes{0x08, 0, 0, 0x01}));
    mouse().set_buttons(Ps2Mouse::kFifth);
    EXPECT_EQ(all_that_comes(), (Bytes{0x08, 0, 0, 0x20}));
    EXPECT_EQ(ask(0xff), (Bytes{0xfa, 0xaa, 0}));
    EXPECT_EQ(ask(0xf2), (Bytes{0xfa, 0})) << "a reset takes it off again";
}

TEST_F(MouseTest, ACommandEndsAPacketOnItsWay) {
    ask(0xf4);
    mouse().move(1, 1);
    pass(clock(), I8042::kByteTime);
    EXPECT_EQ(answers(), Bytes{0x08});
    EXPECT_EQ(ask(0xf2), (Bytes{0xfa, 0x00}));
    EXPECT_EQ(all_that_comes(), Bytes{});
}

TEST_F(MouseTest, PacketsThatNobodyTakesStayWhole) {
    ask(0xf4);
    command(0xa7);
    for (int i = 0; i < 100; ++i) {
        mouse().move(1, 0);
        pass(clock(), 20'000'000);
    }
    command(0xa8);
    const Bytes all = all_that_comes();
    ASSERT_EQ(all.size() % 3, 0u);
    int moved = 0;
    for (std::size_t i = 0; i < all.size(); i += 3) {
        EXPECT_EQ(all[i], 0x08);
        moved += all[i + 1];
    }
    EXPECT_EQ(moved, 100) << "no movement is lost";
}

}  // namespace
}  // namespace dualvm::devices
