#include "dualvm/devices/pit8254.h"

#include "device_test.h"

namespace dualvm::devices {
namespace {

enum : u64 { kCounter0, kCounter1, kCounter2, kControl, kPort61 = Pit8254::kPort61 };

// A host that has a thousand things to do whenever the time has been looked at.
class HastyClock final : public Clock {
public:
    Nanoseconds now() const override { return now_ += 1'000'000; }
    bool is_virtual() const override { return false; }

private:
    mutable Nanoseconds now_ = 0;
};

TEST(PitOnABusyHost, AOneShotIsNotLostThoughItsTimeIsOverWhenItIsArmed) {
    HastyClock clock;
    unsigned rises = 0;
    Pit8254 pit(clock, IrqLine([&](bool level) { rises += level ? 1 : 0; }));
    rises = 0;
    pit.write(kControl, 1, 0x30);  // channel 0, both bytes, mode 0
    pit.write(kCounter0, 1, 10);
    pit.write(kCounter0, 1, 0);
    clock.fire_due();
    EXPECT_EQ(rises, 1u);
}

// Channel 2 with its gate is what modes are tried on: control words B0h and up, counts at 42h.
class Pit : public testing::Test {
protected:
    u8 in(u64 offset) { return static_cast<u8>(pit.read(offset, 1)); }
    void out(u64 offset, unsigned value) { pit.write(offset, 1, value); }
    // Lets the clock come to where `n` more ticks have been counted.
    void tick(u64 n) {
        ticks += n;
        pass(clock, (ticks * 1'000'000'000 + Pit8254::kHertz - 1) / Pit8254::kHertz - clock.now());
    }
    void gate2(bool high) { out(kPort61, high ? 1 : 0); }
    bool out2() { return (in(kPort61)&0x20) != 0; }
    void program(unsigned channel, unsigned mode, unsigned count, bool bcd = false) {
        out(kControl, channel << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0));
        out(channel, count & 0xff);
        out(channel, count >> 8);
    }
    unsigned read16(unsigned channel) {
        const unsigned low = in(channel);
        return low | unsigned{in(channel)} << 8;
    }
    unsigned latched(unsigned channel) {
        out(kControl, channel << 6);
        return read16(channel);
    }
    u8 status(unsigned channel) {
        out(kControl, 0xe0 | 2u << channel);
        return in(channel);
    }
    // OUT 2 over the next `n` ticks, as a string of 0 and 1.
    std::string wave(int n) {
        std::string levels;
        for (int i = 0; i < n; ++i) {
            tick(1);
            levels += out2() ? '1' : '0';
        }
        return levels;
    }

    VirtualClock clock;
    Wire irq0;
    Pit8254 pit{clock, irq0.line()};
    u64 ticks = 0;
};

TEST_F(Pit, Mode0GoesHighOneTickAfterItsCount) {
    gate2(true);
    program(2, 0, 3);
    EXPECT_EQ(wave(6), "000111");
}

TEST_F(Pit, Mode0CountsOnThroughZero) {
    gate2(true);
    program(2, 0, 3);
    tick(4);
    EXPECT_EQ(latched(2), 0u);
    tick(2);
    EXPECT_EQ(latched(2), 0xfffeu);
}

TEST_F(Pit, Mode0IsHeldByALowGate) {
    gate2(true);
    program(2, 0, 10);
    tick(4);
    gate2(false);
    tick(100);
    EXPECT_EQ(latched(2), 7u);
    EXPECT_FALSE(out2());
    gate2(true);
    tick(6);
    EXPECT_FALSE(out2());
    tick(1);
    EXPECT_TRUE(out2());
}

TEST_F(Pit, Mode0StopsAtTheFirstByteOfANewCount) {
    gate2(true);
    program(2, 0, 3);
    tick(10);
    EXPECT_TRUE(out2());
    out(kCounter2, 2);
    EXPECT_FALSE(out2());
    tick(10);
    EXPECT_FALSE(out2());
    out(kCounter2, 0);
    EXPECT_EQ(wave(4), "0011");
}

TEST_F(Pit, Mode0GoesLowAtANewCountOfOneByteToo) {
    gate2(true);
    out(kControl, 0x90);
    out(kCounter2, 2);
    tick(5);
    EXPECT_TRUE(out2());
    out(kCounter2, 2);
    EXPECT_FALSE(out2());
    EXPECT_EQ(wave(3), "001");
}

TEST_F(Pit, Mode1IsAOneShotThatTheGateTriggers) {
    program(2, 1, 3);
    EXPECT_EQ(wave(3), "111");
    gate2(true);
    EXPECT_EQ(wave(5), "00011");
    gate2(false);
    EXPECT_EQ(wave(2), "11");
}

TEST_F(Pit, Mode1IsExtendedByATriggerAndIgnoresALowGate) {
    program(2, 1, 4);
    gate2(true);
    EXPECT_EQ(wave(2), "00");
    gate2(false);
    gate2(true);
    EXPECT_EQ(wave(6), "000011");
}

TEST_F(Pit, Mode1TakesANewCountAtTheNextTrigger) {
    program(2, 1, 3);
    gate2(true);
    tick(1);
    out(kCounter2, 5);
    out(kCounter2, 0);
    EXPECT_EQ(wave(3), "001");
    EXPECT_EQ(status(2) & 0x40, 0x40) << "not in the counting element yet";
    gate2(false);
    gate2(true);
    EXPECT_EQ(wave(6), "000001");
    EXPECT_EQ(status(2) & 0x40, 0);
}

TEST_F(Pit, Mode2IsLowForOneTickInEachPeriod) {
    gate2(true);
    program(2, 2, 3);
    EXPECT_EQ(wave(9), "110110110");
}

TEST_F(Pit, Mode2TakesANewCountAtTheEndOfThePeriod) {
    gate2(true);
    program(2, 2, 4);
    tick(2);
    out(kCounter2, 3);
    out(kCounter2, 0);
    EXPECT_EQ(status(2) & 0x40, 0x40);
    EXPECT_EQ(latched(2), 3u);
    EXPECT_EQ(wave(8), "10110110");
    EXPECT_EQ(status(2) & 0x40, 0);
}

TEST_F(Pit, Mode2RestartsWithARisingGateAndIsHighWhileItIsLow) {
    gate2(true);
    program(2, 2, 3);
    EXPECT_EQ(wave(3), "110");
    gate2(false);
    EXPECT_TRUE(out2());
    EXPECT_EQ(wave(5), "11111");
    gate2(true);
    EXPECT_EQ(wave(6), "110110");
}

TEST_F(Pit, Mode3IsASquareWave) {
    gate2(true);
    program(2, 3, 4);
    EXPECT_EQ(wave(8), "11001100");
}

TEST_F(Pit, Mode3OfAnOddCountIsHighForOneTickLonger) {
    gate2(true);
    program(2, 3, 5);
    EXPECT_EQ(wave(10), "1110011100");
}

TEST_F(Pit, Mode3CountsDownByTwoFromAnEvenNumber) {
    gate2(true);
    program(2, 3, 7);
    std::string counts;
    for (int i = 0; i < 8; ++i) {
        tick(1);
        counts += std::to_string(latched(2));
    }
    EXPECT_EQ(counts, "64206426");
}

TEST_F(Pit, Mode3TakesANewCountAtTheEndOfTheHalfCycle) {
    gate2(true);
    program(2, 3, 6);
    tick(2);
    out(kCounter2, 4);
    out(kCounter2, 0);
    EXPECT_EQ(wave(9), "100110011");
}

TEST_F(Pit, Mode4StrobesForOneTick) {
    gate2(true);
    program(2, 4, 3);
    EXPECT_EQ(wave(7), "1110111");
}

TEST_F(Pit, Mode5StrobesAfterATrigger) {
    program(2, 5, 2);
    EXPECT_EQ(wave(4), "1111");
    gate2(true);
    EXPECT_EQ(wave(5), "11011");
}

TEST_F(Pit, ACountOfZeroIsTheLargest) {
    gate2(true);
    program(2, 0, 0);
    tick(0x10000);
    EXPECT_FALSE(out2());
    tick(1);
    EXPECT_TRUE(out2());
    program(2, 0, 0, true);
    tick(10000);
    EXPECT_FALSE(out2());
    tick(1);
    EXPECT_TRUE(out2());
}

TEST_F(Pit, CountsInBcd) {
    gate2(true);
    program(2, 0, 0x1234, true);
    tick(1);
    EXPECT_EQ(latched(2), 0x1234u);
    tick(35);
    EXPECT_EQ(latched(2), 0x1199u);
    tick(1200);
    EXPECT_EQ(latched(2), 0x9999u) << "through 0";
}

// Linux's quick calibration reads right after the write and gives up if it sees another high byte.
TEST_F(Pit, ACountThatIsReadAtOnceIsTheOneWritten) {
    gate2(true);
    program(2, 0, 0x1234);
    tick(10);
    program(2, 0, 0xffff);
    EXPECT_EQ(read16(2), 0xffffu);
}

TEST_F(Pit, AccessToOneByteOnly) {
    gate2(true);
    out(kControl, 0x90);  // low byte, mode 0
    out(kCounter2, 5);
    tick(2);
    EXPECT_EQ(in(kCounter2), 4);
    EXPECT_EQ(in(kCounter2), 4);
    out(kControl, 0xa0);  // high byte
    out(kCounter2, 0x12);
    tick(2);
    EXPECT_EQ(in(kCounter2), 0x11);
}

TEST_F(Pit, ALatchedCountStaysUntilItIsRead) {
    gate2(true);
    program(2, 0, 1000);
    tick(1);
    out(kControl, 0x80);
    tick(10);
    out(kControl, 0x80);  // does nothing: the first is still there
    EXPECT_EQ(read16(2), 1000u);
    EXPECT_EQ(read16(2), 990u);
}

TEST_F(Pit, ReadBackLatchesStatusAndCountOfSeveralChannels) {
    gate2(true);
    program(1, 2, 100);
    program(2, 0, 0x40, true);
    tick(11);
    out(kControl, 0xcc);  // both, of 1 and 2
    tick(5);
    EXPECT_EQ(in(kCounter1), 0xb4);  // OUT high, both bytes, mode 2
    EXPECT_EQ(read16(1), 90u);
    EXPECT_EQ(in(kCounter2), 0x31);  // OUT low, both bytes, mode 0, BCD
    EXPECT_EQ(read16(2), 0x30u);
}

TEST_F(Pit, StatusShowsThatNoCountWasWritten) {
    out(kControl, 0xb4);
    EXPECT_EQ(status(2) & 0x40, 0x40);
    out(kCounter2, 10);
    EXPECT_EQ(status(2) & 0x40, 0x40);
    out(kCounter2, 0);
    tick(1);
    EXPECT_EQ(status(2) & 0x40, 0);
}

TEST_F(Pit, Port61KeepsItsLowBitsAndTogglesWithRefresh) {
    out(kPort61, 0xff);
    EXPECT_EQ(in(kPort61)&0xcf, 0x0f);
    const u8 before = in(kPort61)&0x10;
    pass(clock, 15'085);
    EXPECT_NE(in(kPort61)&0x10, before);
}

TEST_F(Pit, Channel0InterruptsOncePerPeriodWithoutDrift) {
    program(0, 2, 11932);
    irq0.take_rises();
    pass(clock, 60'000'000'000);
    // 60 s of 1193182 Hz, and one tick for the load: (60 * 1193182 - 1) / 11932.
    EXPECT_EQ(irq0.take_rises(), 5999);
}

TEST_F(Pit, ProgrammingAPeriodicModeMakesNoInterruptByItself) {
    irq0.take_rises();
    program(0, 3, 0xffff);
    EXPECT_EQ(irq0.take_rises(), 0);
    program(0, 2, 0xffff);
    EXPECT_EQ(irq0.take_rises(), 0);
}

TEST_F(Pit, Channel0Mode0InterruptsOnce) {
    program(0, 0, 100);
    EXPECT_FALSE(irq0.level());
    irq0.take_rises();
    tick(100);
    EXPECT_EQ(irq0.take_rises(), 0);
    tick(1);
    EXPECT_EQ(irq0.take_rises(), 1);
    tick(1'000'000);
    EXPECT_EQ(irq0.take_rises(), 0);
}

TEST_F(Pit, Channel0TakesANewCountWithoutLosingAnInterrupt) {
    program(0, 3, 1000);
    tick(300);
    irq0.take_rises();
    out(kCounter0, 2000 & 0xff);  // from the falling edge at 501 on
    out(kCounter0, 2000 >> 8);
    tick(501 + 1000 - 300 - 1);
    EXPECT_EQ(irq0.take_rises(), 0);
    tick(1);
    EXPECT_EQ(irq0.take_rises(), 1);
    tick(2000);
    EXPECT_EQ(irq0.take_rises(), 1);
}

TEST_F(Pit, ATickThatIsDueIsNotLostToANewCount) {
    program(0, 2, 1000);
    irq0.take_rises();
    clock.skip_to(900'000);  // the first period has ended, and the run loop not come round yet
    out(kCounter0, 2000 & 0xff);
    out(kCounter0, 2000 >> 8);
    EXPECT_EQ(irq0.take_rises(), 1);
}

TEST_F(Pit, OtherChannelsDoNotTouchIrq0) {
    program(0, 3, 1000);
    tick(600);  // OUT 0 is low, its line still high
    program(2, 0, 5);
    tick(399);
    irq0.take_rises();
    tick(2);
    EXPECT_EQ(irq0.take_rises(), 1);
}

TEST_F(Pit, AHostileRateGivesOneInterruptEachTimeTheClockIsLookedAt) {
    program(0, 2, 1);
    irq0.take_rises();
    clock.skip_to(10'000'000'000);  // twelve million ticks too late
    EXPECT_EQ(clock.fire_due(), 1u);
    EXPECT_EQ(irq0.take_rises(), 1);
    EXPECT_GT(clock.next_deadline(), clock.now());
}

TEST_F(Pit, LoadedElsewhereEveryModeGoesOnWhereItWas) {
    for (unsigned mode = 0; mode < 6; ++mode) {
        gate2(false);
        program(2, mode, 9);
        program(0, mode, 50);
        gate2(true);
        tick(4);
        out(kCounter2, 7);
        out(kCounter2, 0);
        out(kControl, 0x80);
        VirtualClock other_clock;
        other_clock.skip_to(clock.now());
        Wire other_irq;
        Pit8254 other{other_clock, other_irq.line()};
        ASSERT_TRUE(load(other, saved(pit))) << mode;
        EXPECT_EQ(saved(other), saved(pit)) << mode;
        irq0.take_rises();
        other_irq.take_rises();
        for (int i = 0; i < 120; ++i) {
            tick(1);
            pass(other_clock, clock.now() - other_clock.now());
            ASSERT_EQ(other.read(kPort61, 1), pit.read(kPort61, 1)) << mode << ' ' << i;
            ASSERT_EQ(other.read(kCounter2, 1), pit.read(kCounter2, 1)) << mode << ' ' << i;
        }
        EXPECT_EQ(other_irq.take_rises(), irq0.take_rises()) << mode;
    }
}

}  // namespace
}  // namespace dualvm::devices
