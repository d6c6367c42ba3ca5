#include "dualvm/devices/rtc_mc146818.h"

#include "device_test.h"

namespace dualvm::devices {
namespace {

constexpr Nanoseconds kSecond = 1'000'000'000, kMillisecond = 1'000'000;
constexpr std::time_t kNewYear2000 = 946684800;  // a Saturday

enum : u8 {
    kSeconds,
    kSecondsAlarm,
    kMinutes,
    kMinutesAlarm,
    kHours,
    kHoursAlarm,
    kWeekday,
    kDay,
    kMonth,
    kYear,
    kA,
    kB,
    kC,
    kD,
    kCentury = 0x32
};
enum : u8 { kSet = 0x80, kPie = 0x40, kAie = 0x20, kUie = 0x10, kBinary = 4, k24 = 2 };

class Rtc : public testing::Test {
protected:
    u8 get(u8 index) {
        rtc.write(0, 1, index);
        return static_cast<u8>(rtc.read(1, 1));
    }
    void set(u8 index, unsigned value) {
        rtc.write(0, 1, index);
        rtc.write(1, 1, value);
    }
    std::string date() {
        char text[32];
        std::snprintf(text, sizeof text, "%02x%02x-%02x-%02x %02x:%02x:%02x %x", get(kCentury), get(kYear), get(kMonth),
                      get(kDay), get(kHours), get(kMinutes), get(kSeconds), get(kWeekday));
        return text;
    }
    // As an operating system sets the date: SET on, each register, SET off. BCD, 24 hours.
    void set_date(unsigned year, unsigned month, unsigned day, unsigned hour, unsigned minute, unsigned second) {
        set(kB, kSet | k24);
        set(kSeconds, second);
        set(kMinutes, minute);
        set(kHours, hour);
        set(kDay, day);
        set(kMonth, month);
        set(kYear, year & 0xff);
        set(kCentury, year >> 8);
        set(kB, k24);
    }

    VirtualClock clock;
    Wire irq8;
    RtcMc146818 rtc{clock, irq8.line(), kNewYear2000, u64{128} << 20};
};

TEST_F(Rtc, StartsAtTheGivenTimeInBcd) { EXPECT_EQ(date(), "2000-01-01 00:00:00 7"); }

TEST_F(Rtc, TimePassesWithTheClock) {
    pass(clock, (((58 * 24 + 23) * 60 + 59) * 60 + 58) * kSecond);
    EXPECT_EQ(date(), "2000-02-28 23:59:58 2");
    pass(clock, 2 * kSecond);
    EXPECT_EQ(date(), "2000-02-29 00:00:00 3");
}

TEST_F(Rtc, BinaryAndTwelveHourForms) {
    set(kB, kSet | kBinary);
    set(kHours, 0x8b);  // 11 pm
    set(kMinutes, 59);
    set(kSeconds, 59);
    set(kDay, 31);
    set(kMonth, 12);
    set(kYear, 99);
    set(kCentury, 19);
    set(kB, kBinary);
    EXPECT_EQ(get(kHours), 0x8b);
    pass(clock, kSecond);
    EXPECT_EQ(get(kHours), 12) << "midnight is 12 am";
    EXPECT_EQ(get(kYear), 0);
    EXPECT_EQ(get(kCentury), 20);
    pass(clock, 12 * 3600 * kSecond);
    EXPECT_EQ(get(kHours), 0x8c) << "noon is 12 pm";
}

TEST_F(Rtc, ADateIsKeptAsItWasWrittenWhateverTheOrderOfItsFields) {
    set_date(0x2023, 0x02, 0x10, 0, 0, 0);
    set_date(0x2024, 0x01, 0x31, 0x12, 0x34, 0x56);  // through "31 February"
    pass(clock, 2 * kSecond);
    EXPECT_EQ(date().substr(0, 19), "2024-01-31 12:34:58");
}

TEST_F(Rtc, SetStopsTheUpdates) {
    set(kB, kSet | k24);
    pass(clock, 10 * kSecond);
    EXPECT_EQ(get(kSeconds), 0);
    EXPECT_EQ(get(kA) & 0x80, 0);
    set(kB, k24);
    pass(clock, 2 * kSecond);
    EXPECT_EQ(get(kSeconds), 2);
}

TEST_F(Rtc, TheFirstUpdateComesHalfASecondAfterDividerReset) {
    pass(clock, 900 * kMillisecond);
    set(kA, 0x76);
    pass(clock, 5 * kSecond);
    EXPECT_EQ(get(kSeconds), 0);
    set(kA, 0x26);
    pass(clock, 499 * kMillisecond);
    EXPECT_EQ(get(kSeconds), 0);
    pass(clock, kMillisecond);
    EXPECT_EQ(get(kSeconds), 1);
}

TEST_F(Rtc, UpdateInProgressComesBeforeEachUpdate) {
    pass(clock, kSecond - 2'300'000);
    EXPECT_EQ(get(kA), 0x26);
    pass(clock, 100'000);
    EXPECT_EQ(get(kA), 0xa6);
    EXPECT_EQ(get(kSeconds), 0);
    pass(clock, 2'200'000);
    EXPECT_EQ(get(kA), 0x26);
    EXPECT_EQ(get(kSeconds), 1);
}

TEST_F(Rtc, FlagsAreSetForThosePollingThemWithoutInterrupt) {
    get(kC);
    pass(clock, kSecond);
    EXPECT_EQ(get(kC), 0x50);  // periodic, update ended; the interrupt flag not
    EXPECT_EQ(get(kC), 0) << "cleared by reading";
    EXPECT_EQ(irq8.take_rises(), 0);
}

TEST_F(Rtc, PeriodicInterruptAtEachRate) {
    const std::pair<unsigned, int> rates[] = {{1, 256}, {2, 128}, {3, 8192}, {6, 1024}, {15, 2}};
    for (auto [rate, hertz] : rates) {
        set(kA, 0x20 | rate);
        set(kB, k24 | kPie);
        int interrupts = 0;
        const Nanoseconds end = clock.now() + kSecond;
        while (clock.next_deadline() <= end) {
            clock.skip_to(clock.next_deadline());
            clock.fire_due();
            EXPECT_EQ(get(kC) & 0xc0, 0xc0);
            interrupts += irq8.take_rises();
        }
        clock.skip_to(end);
        EXPECT_NEAR(interrupts, hertz, 1) << rate;
        set(kB, k24);
        get(kC);
    }
}

TEST_F(Rtc, AnUnansweredInterruptArmsNothingMore) {
    set(kB, k24 | kPie);
    pass(clock, kSecond);
    EXPECT_EQ(irq8.take_rises(), 1);
    EXPECT_EQ(clock.next_deadline(), kNever);
    get(kC);
    EXPECT_FALSE(irq8.level());
    EXPECT_NE(clock.next_deadline(), kNever);
}

TEST_F(Rtc, UpdateEndedInterruptComesEachSecond) {
    set(kB, k24 | kUie);
    get(kC);
    pass(clock, kSecond - 1);
    EXPECT_FALSE(irq8.level());
    pass(clock, 1);
    EXPECT_TRUE(irq8.level());
    EXPECT_EQ(get(kC) & 0x90, 0x90);
    EXPECT_FALSE(irq8.level());
}

TEST_F(Rtc, SetClearsTheUpdateEndedEnable) {
    set(kB, kSet | kUie | k24);
    EXPECT_EQ(get(kB), kSet | k24);
}

TEST_F(Rtc, AlarmAtATimeOfDay) {
    set(kSecondsAlarm, 0x05);
    set(kMinutesAlarm, 0x01);
    set(kHoursAlarm, 0x00);
    set(kB, k24 | kAie);
    pass(clock, 64 * kSecond);
    EXPECT_EQ(irq8.take_rises(), 0);
    pass(clock, kSecond);
    EXPECT_EQ(irq8.take_rises(), 1);
    EXPECT_EQ(get(kC) & 0xa0, 0xa0);
}

TEST_F(Rtc, AlarmFieldsFromC0UpMatchAlways) {
    set(kSecondsAlarm, 0x30);
    set(kMinutesAlarm, 0xc0);
    set(kHoursAlarm, 0xff);
    set(kB, k24 | kAie);
    for (int minute = 0; minute < 3; ++minute) {
        pass(clock, 60 * kSecond);
        EXPECT_EQ(irq8.take_rises(), 1);
        get(kC);
    }
}

TEST_F(Rtc, AnAlarmIsNotMissedWhenNobodyLooksForADay) {
    set(kSecondsAlarm, 0);
    set(kMinutesAlarm, 0);
    set(kHoursAlarm, 0x12);
    get(kC);
    clock.skip_to(86'400 * kSecond);
    EXPECT_EQ(get(kC) & 0x20, 0x20);
}

TEST_F(Rtc, MemorySizeIsWhereABiosPutsIt) {
    auto word = [&](u8 at) { return get(at) | get(static_cast<u8>(at + 1)) << 8; };
    EXPECT_EQ(word(0x15), 640);
    EXPECT_EQ(word(0x17), 0xffff);
    EXPECT_EQ(word(0x30), 0xffff);
    EXPECT_EQ(word(0x34), (128 - 16) * 16);
    EXPECT_EQ(get(0x10), 0) << "no floppy";
    EXPECT_EQ(get(0x12), 0) << "no disk";
    unsigned sum = 0;
    for (u8 i = 0x10; i <= 0x2d; ++i) sum += get(i);
    EXPECT_EQ(get(0x2e) << 8 | get(0x2f), static_cast<int>(sum));
}

TEST(RtcMemorySize, AboveFourGibibytes) {
    VirtualClock clock;
    RtcMc146818 rtc{clock, IrqLine{}, 0, u64{5} << 30};  // 3 GiB below, 2 GiB above
    auto get = [&](u8 index) {
        rtc.write(0, 1, index);
        return static_cast<unsigned>(rtc.read(1, 1));
    };
    EXPECT_EQ(get(0x34) | get(0x35) << 8, (3072u - 16) * 16);
    EXPECT_EQ(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 2048u * 16);
}

TEST_F(Rtc, ResetKeepsTimeAndMemoryAndDisablesInterrupts) {
    set(0x0f, 0x0a);  // the shutdown code that a guest leaves for after the reset
    set(kB, k24 | kPie);
    pass(clock, 3 * kSecond);
    EXPECT_TRUE(irq8.level());
    rtc.reset();
    EXPECT_FALSE(irq8.level());
    EXPECT_EQ(get(0x0f), 0x0a);
    EXPECT_EQ(get(kSeconds), 3);
    EXPECT_EQ(get(kB), k24);
    EXPECT_EQ(get(kC), 0);
}

TEST_F(Rtc, Port70KeepsTheNmiMask) {
    rtc.write(0, 1, 0x80 | kDay);
    EXPECT_TRUE(rtc.nmi_masked());
    EXPECT_EQ(rtc.read(1, 1), 1u) << "the mask is no part of the index";
    rtc.write(0, 1, kDay);
    EXPECT_FALSE(rtc.nmi_masked());
}

TEST_F(Rtc, RegistersCAndDCannotBeWritten) {
    set(kD, 0);
    EXPECT_EQ(get(kD), 0x80);
    get(kC);
    set(kC, 0xff);
    EXPECT_EQ(get(kC), 0);
}

TEST_F(Rtc, NonsenseInTheTimeRegistersIsSortedOut) {
    for (u8 i = 0; i < 10; ++i) set(i, 0xff);
    set(kCentury, 0xff);
    pass(clock, 5 * kSecond);
    EXPECT_LE(get(kMonth), 0x12);
    EXPECT_LE(get(kSeconds), 0x59);
}

TEST_F(Rtc, LoadedElsewhereItGoesOnWhereItWas) {
    set_date(0x2024, 0x12, 0x31, 0x23, 0x59, 0x50);
    set(kB, k24 | kUie);
    set(0x40, 0x77);
    pass(clock, 4 * kSecond + 300 * kMillisecond);
    get(kC);
    VirtualClock other_clock;
    other_clock.skip_to(77'777'777);
    Wire other_irq;
    RtcMc146818 other{other_clock, other_irq.line(), 0, 1 << 20};
    ASSERT_TRUE(load(other, saved(rtc)));
    EXPECT_EQ(saved(other), saved(rtc));
    pass(other_clock, 700 * kMillisecond - 1);
    EXPECT_FALSE(other_irq.level());
    pass(other_clock, 1);
    EXPECT_TRUE(other_irq.level());
    other.write(0, 1, kSeconds);
    EXPECT_EQ(other.read(1, 1), 0x55u);
}

}  // namespace
}  // namespace dualvm::devices
