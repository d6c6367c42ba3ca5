#include "dualvm/devices/pic8259.h"

#include "device_test.h"

namespace dualvm::devices {
namespace {

enum : u64 { kMaster = Pic8259Pair::kMaster, kSlave = Pic8259Pair::kSlave, kElcr = Pic8259Pair::kEdgeLevel };
enum : u8 { kEoi = 0x20, kReadIrr = 0x0a, kReadIsr = 0x0b, kPoll = 0x0c };

class Pic : public testing::Test {
protected:
    Pic() { initialize(0x01); }
    void out(u64 offset, unsigned value) { pic.write(offset, 1, value); }
    u8 in(u64 offset) { return static_cast<u8>(pic.read(offset, 1)); }
    u8 isr(u64 chip) {
        out(chip, kReadIsr);
        return in(chip);
    }
    u8 irr(u64 chip) {
        out(chip, kReadIrr);
        return in(chip);
    }
    // As every PC operating system: vectors 20h and 28h.
    void initialize(unsigned master_icw4, unsigned icw1 = 0x11) {
        out(kMaster, icw1);
        out(kMaster + 1, 0x20);
        out(kMaster + 1, 0x04);
        out(kMaster + 1, master_icw4);
        out(kSlave, icw1);
        out(kSlave + 1, 0x28);
        out(kSlave + 1, 0x02);
        out(kSlave + 1, 0x01);
    }
    void pulse(unsigned irq) {
        line[irq].lower();
        line[irq].raise();
    }

    Pic8259Pair pic;
    std::array<IrqLine, 16> line = [this] {
        std::array<IrqLine, 16> lines;
        for (unsigned i = 0; i < 16; ++i) lines[i] = pic.line(i);
        return lines;
    }();
};

TEST(PicAtPowerOn, MasksEverything) {
    Pic8259Pair pic;
    IrqLine timer = pic.line(0);
    timer.raise();
    EXPECT_FALSE(pic.pending());
    EXPECT_EQ(pic.read(kMaster + 1, 1), 0xffu);
}

TEST_F(Pic, GivesTheVectorOfTheInput) {
    EXPECT_FALSE(pic.pending());
    line[5].raise();
    EXPECT_TRUE(pic.pending());
    EXPECT_EQ(pic.acknowledge(), 0x25);
    EXPECT_FALSE(pic.pending());
    EXPECT_EQ(isr(kMaster), 0x20);
}

TEST_F(Pic, TheSlaveInterruptsThroughInput2) {
    line[10].raise();
    EXPECT_EQ(irr(kMaster), 0x04);
    EXPECT_EQ(pic.acknowledge(), 0x2a);
    EXPECT_EQ(isr(kMaster), 0x04);
    EXPECT_EQ(isr(kSlave), 0x04);
    EXPECT_FALSE(pic.pending());
}

TEST_F(Pic, LowerInputsHavePriority) {
    line[12].raise();
    line[7].raise();
    line[1].raise();
    EXPECT_EQ(pic.acknowledge(), 0x21);
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x2c) << "the slave stands at 2";
    out(kSlave, kEoi);
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x27);
}

TEST_F(Pic, OnlyHigherPriorityInterruptsAHandler) {
    line[3].raise();
    pic.acknowledge();
    line[4].raise();
    EXPECT_FALSE(pic.pending());
    line[1].raise();
    EXPECT_EQ(pic.acknowledge(), 0x21);
    out(kMaster, kEoi);  // of 1, the one in service with highest priority
    EXPECT_EQ(isr(kMaster), 0x08);
    EXPECT_FALSE(pic.pending());
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x24);
}

TEST_F(Pic, SpecificEoiEndsTheOneItNames) {
    line[3].raise();
    pic.acknowledge();
    line[1].raise();
    pic.acknowledge();
    out(kMaster, 0x63);
    EXPECT_EQ(isr(kMaster), 0x02);
}

TEST_F(Pic, MasksHoldRequestsBack) {
    out(kMaster + 1, 0x10);
    EXPECT_EQ(in(kMaster + 1), 0x10);
    line[4].raise();
    EXPECT_FALSE(pic.pending());
    EXPECT_EQ(irr(kMaster), 0x10);
    out(kMaster + 1, 0);
    EXPECT_EQ(pic.acknowledge(), 0x24);
}

TEST_F(Pic, AnEdgeInterruptsOnce) {
    line[4].raise();
    pic.acknowledge();
    out(kMaster, kEoi);
    EXPECT_FALSE(pic.pending()) << "the line is still high";
    pulse(4);
    EXPECT_TRUE(pic.pending());
}

TEST_F(Pic, ARequestThatGoesAwayIsAnsweredWithSpurious7) {
    line[4].raise();
    line[4].lower();
    EXPECT_FALSE(pic.pending());
    EXPECT_EQ(pic.acknowledge(), 0x27);
    EXPECT_EQ(isr(kMaster), 0) << "no bit in service: that is how handlers tell it from a real one";
}

// Between the INTA's two pulses a real slave's request may go. Here both are one call, so only an archive can say it:
// the master has the cascade's request, the slave none.
TEST_F(Pic, ASlaveRequestThatGoesAwayIsSpurious15) {
    line[9].raise();
    std::vector<u8> bytes = saved(pic);
    const std::size_t slave_irr = 6 + 17;
    ASSERT_EQ(bytes[slave_irr], 0x02);
    bytes[slave_irr] = 0;
    ASSERT_TRUE(load(pic, bytes));
    EXPECT_EQ(pic.acknowledge(), 0x2f);
    EXPECT_EQ(isr(kSlave), 0);
    EXPECT_EQ(isr(kMaster), 0x04) << "the master believes it: handlers must end it there";
}

TEST_F(Pic, ALevelInterruptsAsLongAsItIsHigh) {
    out(kElcr, 0x20);
    EXPECT_EQ(in(kElcr), 0x20);
    line[5].raise();
    EXPECT_EQ(pic.acknowledge(), 0x25);
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x25);
    line[5].lower();
    out(kMaster, kEoi);
    EXPECT_FALSE(pic.pending());
}

TEST_F(Pic, TurningAHighLineToLevelRequestsAtOnce) {
    line[11].raise();
    pic.acknowledge();
    out(kSlave, kEoi);
    out(kMaster, kEoi);
    EXPECT_FALSE(pic.pending());
    out(kElcr + 1, 0x08);
    EXPECT_EQ(pic.acknowledge(), 0x2b);
}

TEST_F(Pic, SystemInterruptsCannotBeLevelTriggered) {
    out(kElcr, 0xff);
    out(kElcr + 1, 0xff);
    EXPECT_EQ(in(kElcr), 0xf8);
    EXPECT_EQ(in(kElcr + 1), 0xde);
}

TEST_F(Pic, InitializationForgetsEdgesAndMasks) {
    out(kMaster + 1, 0xff);
    line[3].raise();
    out(kMaster, kReadIsr);
    initialize(0x01);
    EXPECT_EQ(in(kMaster + 1), 0);
    EXPECT_EQ(in(kMaster), 0) << "IRR is read, and empty though the line is high";
    EXPECT_FALSE(pic.pending());
    pulse(3);
    EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(Pic, InitializationForLevelsSeesLinesThatAreHigh) {
    line[3].raise();
    initialize(0x01, 0x19);
    EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(Pic, ASingleControllerHasNoIcw3) {
    out(kMaster, 0x13);
    out(kMaster + 1, 0x40);
    out(kMaster + 1, 0x01);  // ICW4
    out(kMaster + 1, 0xa5);  // OCW1
    EXPECT_EQ(in(kMaster + 1), 0xa5);
}

TEST_F(Pic, AutomaticEoiLeavesNothingInService) {
    initialize(0x03);
    line[4].raise();
    EXPECT_EQ(pic.acknowledge(), 0x24);
    EXPECT_EQ(isr(kMaster), 0);
    line[5].raise();
    EXPECT_TRUE(pic.pending());
}

TEST_F(Pic, RotationOnEoiMakesTheServedOneLowest) {
    line[3].raise();
    pic.acknowledge();
    out(kMaster, 0xa0);  // rotate on non-specific EOI: 4 is highest now
    pulse(3);
    line[4].raise();
    line[0].raise();
    EXPECT_EQ(pic.acknowledge(), 0x24);
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x20);
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(Pic, RotationOnSpecificEoiEndsAndRotates) {
    line[1].raise();
    pic.acknowledge();
    out(kMaster, 0xe1);
    EXPECT_EQ(isr(kMaster), 0);
    line[0].raise();
    line[3].raise();
    EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(Pic, SetPriorityChoosesTheLowest) {
    out(kMaster, 0xc4);  // 4 lowest, 5 highest
    line[4].raise();
    line[0].raise();
    line[6].raise();
    EXPECT_EQ(pic.acknowledge(), 0x26);
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x20);
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x24);
}

TEST_F(Pic, RotationInAutomaticEoi) {
    initialize(0x03);
    out(kMaster, 0x80);
    line[3].raise();
    pic.acknowledge();
    pulse(3);
    line[6].raise();
    EXPECT_EQ(pic.acknowledge(), 0x26) << "3 is lowest";
    out(kMaster, 0x00);  // rotation off: 6 stays lowest
    EXPECT_EQ(pic.acknowledge(), 0x23);
    pulse(3);
    line[4].raise();
    EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(Pic, SpecialMaskModeLetsLowerPrioritiesThroughAMaskedHandler) {
    line[3].raise();
    pic.acknowledge();
    line[6].raise();
    out(kMaster + 1, 0x08);
    EXPECT_FALSE(pic.pending());
    out(kMaster, 0x68);
    EXPECT_EQ(pic.acknowledge(), 0x26);
    line[7].raise();
    EXPECT_FALSE(pic.pending()) << "6 is in service and not masked";
    out(kMaster, kEoi);
    EXPECT_EQ(isr(kMaster), 0x08) << "a non-specific EOI passes over what is masked";
    out(kMaster, 0x48);
    EXPECT_FALSE(pic.pending());
}

TEST_F(Pic, SpecialFullyNestedModeLetsTheSlaveInterruptItself) {
    initialize(0x11);
    line[12].raise();
    EXPECT_EQ(pic.acknowledge(), 0x2c);
    line[9].raise();
    EXPECT_EQ(pic.acknowledge(), 0x29);
}

TEST_F(Pic, WithoutItTheSlaveWaitsForItsEoiAtTheMaster) {
    line[12].raise();
    EXPECT_EQ(pic.acknowledge(), 0x2c);
    line[9].raise();
    EXPECT_FALSE(pic.pending());
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x29);
}

TEST_F(Pic, TwoSlaveRequestsComeOneAfterTheOther) {
    line[8].raise();
    line[14].raise();
    EXPECT_EQ(pic.acknowledge(), 0x28);
    out(kSlave, kEoi);
    out(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge(), 0x2e);
}

TEST_F(Pic, PollingAcknowledges) {
    out(kMaster, kPoll);
    EXPECT_EQ(in(kMaster)&0x80, 0);
    line[6].raise();
    out(kMaster, kPoll);
    EXPECT_EQ(in(kMaster), 0x86);
    EXPECT_FALSE(pic.pending());
    EXPECT_EQ(isr(kMaster), 0x40);
}

TEST_F(Pic, LoadedElsewhereItGoesOnWithoutNewEdges) {
    line[3].raise();
    line[13].raise();
    pic.acknowledge();
    out(kMaster + 1, 0x08);
    Pic8259Pair other;
    ASSERT_TRUE(load(other, saved(pic)));
    EXPECT_EQ(saved(other), saved(pic));
    IrqLine again = other.line(3);
    again.raise();  // the device is loaded and sets its line as it was
    EXPECT_EQ(saved(other), saved(pic));
    other.write(kMaster + 1, 1, 0);
    out(kMaster + 1, 0);
    other.write(kMaster, 1, kEoi);
    out(kMaster, kEoi);
    EXPECT_TRUE(pic.pending());
    EXPECT_EQ(other.pending(), pic.pending());
    EXPECT_EQ(other.acknowledge(), pic.acknowledge());
}

}  // namespace
}  // namespace dualvm::devices
