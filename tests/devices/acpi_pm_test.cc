// ACPI's power management block: timer, events, power-off.
#include "dualvm/devices/acpi_pm.h"

#include "device_test.h"

namespace dualvm::devices {
namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;
// The timer's highest bit changes every 2^23 ticks.
constexpr Nanoseconds kCarry = ((u64{1} << 23) * kSecond + AcpiPm::kTimerHertz - 1) / AcpiPm::kTimerHertz;

class Acpi : public testing::Test {
protected:
    u64 status() { return pm.read(AcpiPm::kEvent, 2); }
    void enable(u64 value) { pm.write(AcpiPm::kEvent + 2, 2, value); }
    bool power_off_asked() {
        const auto request = machine->take_request();
        return request && request->kind == RequestKind::PowerOff;
    }
    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 2});
    VirtualClock& clock = *machine->virtual_clock();
    Wire sci;
    AcpiPm pm{*machine, sci.line()};
};

TEST_F(Acpi, TheTimerCountsAt3579545Hertz) {
    pass(clock, kSecond);
    EXPECT_EQ(pm.read(AcpiPm::kTimer, 4), AcpiPm::kTimerHertz);
    pass(clock, kSecond);
    EXPECT_EQ(pm.read(AcpiPm::kTimer, 4), 2 * AcpiPm::kTimerHertz);
}

TEST_F(Acpi, TheTimerHas24Bits) {
    pass(clock, 5 * kSecond);
    EXPECT_EQ(pm.read(AcpiPm::kTimer, 4), 5 * AcpiPm::kTimerHertz % (1 << 24));
}

TEST_F(Acpi, AChangeOfTheTimersHighestBitIsAnEvent) {
    pass(clock, kCarry - 1);
    EXPECT_EQ(status(), 0u);
    pass(clock, 1);
    EXPECT_EQ(status(), 1u);
    pm.write(AcpiPm::kEvent, 2, 0);
    EXPECT_EQ(status(), 1u) << "it is cleared by writing 1";
    pm.write(AcpiPm::kEvent, 2, 1);
    EXPECT_EQ(status(), 0u);
    pass(clock, kCarry);
    EXPECT_EQ(status(), 1u);
}

TEST_F(Acpi, AnEnabledEventRaisesTheSciUntilItIsCleared) {
    pass(clock, kCarry);
    EXPECT_FALSE(sci.level());
    pm.write(AcpiPm::kEvent, 2, 1);
    enable(1);
    EXPECT_FALSE(sci.level());
    pass(clock, kCarry);
    EXPECT_TRUE(sci.level());
    pm.write(AcpiPm::kEvent, 2, 1);
    EXPECT_FALSE(sci.level());
    pass(clock, kCarry);
    EXPECT_TRUE(sci.level());
    enable(0);
    EXPECT_FALSE(sci.level());
}

TEST_F(Acpi, AnEventThatIsNotEnabledStopsNobody) {
    EXPECT_EQ(clock.next_deadline(), kNever);
    enable(1);
    EXPECT_NE(clock.next_deadline(), kNever);
    enable(0);
    EXPECT_EQ(clock.next_deadline(), kNever);
}

TEST_F(Acpi, SleepingInS5PowersOff) {
    pm.write(AcpiPm::kControl, 2, AcpiPm::kSoftOff << 10);
    EXPECT_FALSE(power_off_asked()) << "the type alone";
    pm.write(AcpiPm::kControl, 2, 1 << 13 | AcpiPm::kSoftOff << 10);
    EXPECT_TRUE(power_off_asked());
    EXPECT_EQ(pm.read(AcpiPm::kControl, 2) & 1 << 13, 0u) << "SLP_EN reads as 0";
}

TEST_F(Acpi, OtherSleepStatesDoNotExist) {
    pm.write(AcpiPm::kControl, 2, 1 << 13 | 1 << 10);
    EXPECT_FALSE(power_off_asked());
    EXPECT_EQ(pm.read(AcpiPm::kControl, 2) >> 10 & 7, 1u);
}

TEST_F(Acpi, IsAlwaysInAcpiMode) {
    EXPECT_EQ(pm.read(AcpiPm::kControl, 2), 1u);
    pm.write(AcpiPm::kControl, 2, 0);
    EXPECT_EQ(pm.read(AcpiPm::kControl, 2), 1u);
}

TEST_F(Acpi, RegistersCanBeReadByteByByte) {
    enable(0x0120);
    EXPECT_EQ(pm.read(AcpiPm::kEvent + 2, 1), 0x20u);
    EXPECT_EQ(pm.read(AcpiPm::kEvent + 3, 1), 0x01u);
    EXPECT_EQ(pm.read(AcpiPm::kEvent, 4), 0x01200000u);
}

TEST_F(Acpi, GeneralPurposeEventsAreEnabledButNeverHappen) {
    pm.write(AcpiPm::kGpe + 2, 2, 0xffff);
    EXPECT_EQ(pm.read(AcpiPm::kGpe, 4), 0xffff0000u);
    EXPECT_FALSE(sci.level());
}

TEST_F(Acpi, ResetDisablesEverythingAndStartsTheTimerAgain) {
    enable(1);
    pass(clock, kCarry);
    pm.reset();
    EXPECT_FALSE(sci.level());
    EXPECT_EQ(pm.read(AcpiPm::kTimer, 4), 0u);
    EXPECT_EQ(pm.read(AcpiPm::kEvent + 2, 2), 0u);
}

TEST_F(Acpi, ALoadedTimerGoesOnWhereItWasSaved) {
    pass(clock, kSecond);
    const auto bytes = saved(pm);
    pass(clock, 7 * kSecond);
    ASSERT_TRUE(load(pm, bytes));
    EXPECT_EQ(pm.read(AcpiPm::kTimer, 4), AcpiPm::kTimerHertz);
    EXPECT_EQ(status(), 0u);
}

}  // namespace
}  // namespace dualvm::devices
