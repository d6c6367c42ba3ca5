// The 8042 itself: its commands, its output buffer and what interrupts.
#include "i8042_test.h"

namespace dualvm::devices {
namespace {

using Controller = OnI8042;

TEST_F(Controller, SelfTestsPass) {
    command(0xaa);
    EXPECT_EQ(answers(), Bytes{0x55});
    command(0xab);
    EXPECT_EQ(answers(), Bytes{0x00});
    command(0xa9);
    EXPECT_EQ(answers(), Bytes{0x00});
    EXPECT_EQ(status() & 0x14, 0x14u);
}

TEST_F(Controller, InputIsNeverFullSoThatNobodyWaitsForEver) {
    command(0xd1);
    EXPECT_EQ(status() & 2, 0u);
    EXPECT_EQ(status() & 8, 8u) << "the last byte was a command";
    data(0xdf);
    EXPECT_EQ(status() & 8, 0u);
}

TEST_F(Controller, KeepsTheCommandByte) {
    command(0x60, 0x47);
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x47});
    command(0xad);
    command(0xa7);
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x77});
    command(0xae);
    command(0xa8);
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x47});
}

TEST_F(Controller, HasThirtyTwoBytesOfMemory) {
    command(0x7f, 0x12);
    command(0x61, 0x34);
    command(0x3f);
    EXPECT_EQ(answers(), Bytes{0x12});
    command(0x21);
    EXPECT_EQ(answers(), Bytes{0x34});
}

TEST_F(Controller, TheSystemFlagIsTheCommandBytes) {
    command(0x60, 0x41);
    EXPECT_EQ(status() & 4, 0u);
    command(0xaa);
    EXPECT_EQ(status() & 4, 4u);
}

TEST_F(Controller, WithoutABiosAllIsAsABiosLeavesIt) {
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x65});
    EXPECT_TRUE(i8042.keys_welcome());
}

TEST_F(Controller, AtPowerOnBothCablesAreOff) {
    I8042 fresh{*machine, {}, {}, I8042::AfterReset::PowerOn};
    fresh.write(I8042::kCommand, 1, 0x20);
    EXPECT_EQ(fresh.read(I8042::kData, 1), 0x30u);
    EXPECT_FALSE(fresh.keys_welcome());
}

TEST_F(Controller, OutputPortIsTheA20Gate) {
    command(0xd1, 0xdd);
    EXPECT_FALSE(machine->vmem().a20_open());
    command(0xd0);
    EXPECT_EQ(i8042.read(I8042::kData, 1) & 3, 1u);
    command(0xd1, 0xdf);
    EXPECT_TRUE(machine->vmem().a20_open());
    command(0xdd);
    EXPECT_FALSE(machine->vmem().a20_open());
    command(0xdf);
    EXPECT_TRUE(machine->vmem().a20_open());
    EXPECT_FALSE(reset_asked());
}

TEST_F(Controller, PulsingBit0Resets) {
    command(0xff);
    EXPECT_FALSE(reset_asked());
    command(0xfe);
    EXPECT_TRUE(reset_asked());
    command(0xd1, 0x02);
    EXPECT_TRUE(reset_asked());
}

TEST_F(Controller, AByteForTheMouseComesBackFromTheMouse) {
    command(0xd3, 0x5a);  // what Linux sees by that there is a second port
    EXPECT_EQ(status() & 0x21, 0x21u);
    EXPECT_EQ(answers(), Bytes{0x5a});
    command(0xd2, 0xa5);
    EXPECT_EQ(status() & 0x21, 0x01u);
    EXPECT_EQ(answers(), Bytes{0xa5});
}

TEST_F(Controller, AnAnswerOfItsOwnWaitsForTheKeyThatIsThere) {
    command(0x60, 0x47);
    i8042.keyboard().press(key("a"));
    pass(clock(), I8042::kByteTime);
    irq1.take_rises();
    command(0x20);
    EXPECT_EQ(answer(), Bytes{0x1e});
    EXPECT_EQ(irq1.take_rises(), 1) << "of the answer";
    EXPECT_EQ(answer(), Bytes{0x47});
    EXPECT_EQ(answer(), Bytes{});
}

TEST_F(Controller, EachPortHasItsInterrupt) {
    command(0x60, 0x47);
    irq1.take_rises();
    command(0xd2, 1);
    EXPECT_TRUE(irq1.level());
    EXPECT_FALSE(irq12.level());
    answer();
    EXPECT_FALSE(irq1.level());
    command(0xd3, 2);
    EXPECT_TRUE(irq12.level());
    EXPECT_FALSE(irq1.level());
    answer();
    EXPECT_FALSE(irq12.level());
}

TEST_F(Controller, NothingInterruptsThatTheCommandByteDoesNotLet) {
    command(0x60, 0x44);
    command(0xd2, 1);
    EXPECT_FALSE(irq1.level());
    answer();
    command(0xd3, 2);
    EXPECT_FALSE(irq12.level());
    command(0x60, 0x47);
    EXPECT_TRUE(irq12.level()) << "the byte is still there";
}

TEST_F(Controller, EachByteOfAnAnswerIsAnEdge) {
    irq1.take_rises();
    data(0xf2);
    EXPECT_EQ(irq1.take_rises(), 1);
    EXPECT_EQ(answers(), (Bytes{0xfa, 0xab, 0x41})) << "83h is translated, too";
    EXPECT_EQ(irq1.take_rises(), 2);
    EXPECT_FALSE(irq1.level());
}

TEST_F(Controller, AKeyTakesItsTimeOnTheCable) {
    i8042.keyboard().press(key("a"));
    pass(clock(), I8042::kByteTime - 1);
    EXPECT_EQ(status() & 1, 0u);
    pass(clock(), 1);
    EXPECT_EQ(status() & 1, 1u);
}

TEST_F(Controller, AKeyCanBeReadTwiceBeforeTheNextIsThere) {
    i8042.keyboard().press(key("a"));
    i8042.keyboard().press(key("b"));
    pass(clock(), 10 * I8042::kByteTime);
    EXPECT_EQ(i8042.read(I8042::kData, 1), 0x1eu);
    EXPECT_EQ(i8042.read(I8042::kData, 1), 0x1eu);
    pass(clock(), I8042::kByteTime);
    EXPECT_EQ(answers(), Bytes{0x30});
}

TEST_F(Controller, AKeyWaitsWhileItsCableIsOff) {
    command(0xad);
    EXPECT_EQ(type(key("a")), Bytes{});
    command(0xae);
    EXPECT_EQ(all_that_comes(), (Bytes{0x1e, 0x9e}));
}

TEST_F(Controller, SpeakingToADeviceSwitchesItsCableOn) {
    command(0x60, 0x77);
    data(0xee);
    EXPECT_EQ(answers(), Bytes{0xee});
    to_mouse(0xf4);
    EXPECT_EQ(answers(), Bytes{0xfa});
    command(0x20);
    EXPECT_EQ(answers(), Bytes{0x47});
}

TEST_F(Controller, AnAnswerGoesBeforeKeys) {
    i8042.keyboard().press(key("a"));
    data(0xee);
    EXPECT_EQ(all_that_comes(), (Bytes{0xee, 0x1e}));
}

TEST_F(Controller, ResetForgetsWhatWasUnderWay) {
    command(0x60, 0x47);
    i8042.keyboard().press(key("a"));
    pass(clock(), I8042::kByteTime);
    EXPECT_TRUE(irq1.level());
    i8042.reset();
    EXPECT_FALSE(irq1.level());
    EXPECT_EQ(all_that_comes(), Bytes{});
}

TEST_F(Controller, SavesACommandThatWaitsForItsData) {
    command(0x60);
    I8042 other{*machine, {}, {}, I8042::AfterReset::PowerOn};
    ASSERT_TRUE(load(other, saved(i8042)));
    other.write(0, 1, 0x12);
    other.write(1, 1, 0x20);
    EXPECT_EQ(other.read(0, 1), 0x12u);
}

TEST_F(Controller, SavesKeysOnTheirWay) {
    i8042.keyboard().press(key("up"));
    pass(clock(), I8042::kByteTime);
    Wire wire;
    I8042 other{*machine, wire.line(), {}, I8042::AfterReset::PowerOn};
    ASSERT_TRUE(load(other, saved(i8042)));
    EXPECT_TRUE(wire.level());
    EXPECT_EQ(other.read(0, 1), 0xe0u);
    pass(clock(), I8042::kByteTime);
    EXPECT_EQ(other.read(0, 1), 0x48u);
}

}  // namespace
}  // namespace dualvm::devices
