// The local APIC by made-up accesses: SDM vol. 3A, chapter 10.
#include "dualvm/devices/local_apic.h"

#include "device_test.h"
#include "dualvm/devices/pic8259.h"

namespace dualvm::devices {
namespace {

enum : u64 {
    kTpr = 0x80,
    kPpr = 0xa0,
    kEoi = 0xb0,
    kLdr = 0xd0,
    kDfr = 0xe0,
    kSvr = 0xf0,
    kIsr = 0x100,
    kTmr = 0x180,
    kIrr = 0x200,
    kEsr = 0x280,
    kIcr = 0x300,
    kIcrHigh = 0x310,
    kLvtTimer = 0x320,
    kLint0 = 0x350,
    kLint1 = 0x360,
    kLvtError = 0x370,
    kInitial = 0x380,
    kCurrent = 0x390,
    kDivide = 0x3e0,
};
constexpr u32 kMasked = 1 << 16, kPeriodic = 1 << 17, kBy1 = 0xb, kBy2 = 0;

// A source of interrupts on LINT0 that always answers with the same vector.
class FixedVector final : public InterruptSource {
public:
    bool pending() const override { return true; }
    u8 acknowledge() override { return 0x77; }
};

class Apic : public testing::Test {
protected:
    Apic() {
        apic.on_end_of_interrupt([this](u8 vector) { ended.push_back(vector); });
        machine->set_interrupt_source(&apic);
        write(kSvr, 0x1ff);
    }
    u64 read(u64 offset) { return machine->vio().read_mmio(base + offset, 4); }
    void write(u64 offset, u64 value) { machine->vio().write_mmio(base + offset, 4, value); }
    bool send(u8 vector, bool level = false) {
        return apic.deliver({.destination = 0, .level_triggered = level, .vector = vector});
    }
    bool in(u64 set, unsigned vector) { return (read(set + vector / 32 * 16) >> vector % 32 & 1) != 0; }

    static constexpr u64 base = LocalApic::kUsualBase;
    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 2});
    VirtualClock& clock = *machine->virtual_clock();
    FixedVector pic;
    LocalApic apic{*machine, pic, LocalApic::AfterReset::Architectural};
    std::vector<u8> ended;
};

TEST_F(Apic, AfterResetItIsDisabledBySoftwareAndEverythingIsMasked) {
    apic.reset();
    EXPECT_EQ(read(kSvr), 0xffu);
    for (u64 entry = kLvtTimer; entry <= kLvtError; entry += 16) EXPECT_EQ(read(entry), kMasked) << entry;
    EXPECT_EQ(read(kDfr), 0xffffffffu);
    EXPECT_EQ(read(0x30) & 0xff, 0x14u) << "an integrated APIC";
    write(kLvtTimer, 0x30);
    EXPECT_EQ(read(kLvtTimer), kMasked | 0x30) << "no entry can be unmasked (10.4.7.2)";
    EXPECT_FALSE(send(0x40));
}

TEST_F(Apic, AnInterruptIsRequestedThenInServiceThenEnded) {
    EXPECT_FALSE(apic.pending());
    ASSERT_TRUE(send(0x40));
    EXPECT_TRUE(apic.pending());
    EXPECT_TRUE(in(kIrr, 0x40));
    EXPECT_EQ(apic.acknowledge(), 0x40);
    EXPECT_FALSE(in(kIrr, 0x40));
    EXPECT_TRUE(in(kIsr, 0x40));
    EXPECT_EQ(read(kPpr), 0x40u);
    write(kEoi, 0);
    EXPECT_FALSE(in(kIsr, 0x40));
    EXPECT_EQ(read(kPpr), 0u);
}

TEST_F(Apic, OfTwoRequestsTheHigherVectorComesFirst) {
    send(0x41);
    send(0xc3);
    EXPECT_EQ(apic.acknowledge(), 0xc3);
    EXPECT_FALSE(apic.pending()) << "one of a lower class waits";
    write(kEoi, 0);
    EXPECT_EQ(apic.acknowledge(), 0x41);
}

TEST_F(Apic, OnlyAHigherClassInterruptsAHandler) {
    send(0x45);
    apic.acknowledge();
    send(0x4f);
    EXPECT_FALSE(apic.pending()) << "the same class";
    send(0x50);
    EXPECT_TRUE(apic.pending());
    EXPECT_EQ(apic.acknowledge(), 0x50);
    write(kEoi, 0);
    EXPECT_FALSE(in(kIsr, 0x50));
    EXPECT_TRUE(in(kIsr, 0x45)) << "an EOI ends the highest";
}

TEST_F(Apic, TheTaskPriorityHoldsBackItsClassAndBelow) {
    write(kTpr, 0x45);
    EXPECT_EQ(read(kPpr), 0x45u);
    send(0x4f);
    EXPECT_FALSE(apic.pending());
    write(kTpr, 0x3f);
    EXPECT_TRUE(apic.pending());
}

TEST_F(Apic, Cr8IsTheUpperHalfOfTheTaskPriority) {
    write(kTpr, 0x57);
    EXPECT_EQ(machine->cr8(), 5);
    machine->cr8_changed(0xa);
    EXPECT_EQ(read(kTpr), 0xa0u);
    send(0xa5);
    EXPECT_FALSE(apic.pending());
    machine->cr8_changed(0);
    EXPECT_TRUE(apic.pending());
}

TEST_F(Apic, ARequestThatWasHeldBackMeanwhileGivesTheSpuriousVector) {
    send(0x40);
    write(kTpr, 0xf0);
    EXPECT_EQ(apic.acknowledge(), 0xff);
    EXPECT_TRUE(in(kIrr, 0x40));
    EXPECT_FALSE(in(kIsr, 0xff)) << "it is not in service (10.9)";
}

TEST_F(Apic, TheEndOfALevelTriggeredInterruptIsTold) {
    send(0x40, /*level=*/true);
    EXPECT_TRUE(in(kTmr, 0x40));
    apic.acknowledge();
    EXPECT_TRUE(ended.empty());
    write(kEoi, 0);
    EXPECT_EQ(ended, std::vector<u8>{0x40});
    send(0x40);
    EXPECT_FALSE(in(kTmr, 0x40));
    apic.acknowledge();
    write(kEoi, 0);
    EXPECT_EQ(ended.size(), 1u) << "of an edge nobody needs to know";
}

TEST_F(Apic, VectorsBelow16AreErrors) {
    write(kLvtError, 0x50);
    EXPECT_TRUE(send(0x0f));
    EXPECT_FALSE(in(kIrr, 0x0f));
    EXPECT_EQ(apic.acknowledge(), 0x50);
    EXPECT_EQ(read(kEsr), 0u) << "shown after a write only";
    write(kEsr, 0);
    EXPECT_EQ(read(kEsr), 1u << 6);
    write(kEsr, 0);
    EXPECT_EQ(read(kEsr), 0u);
}

TEST_F(Apic, RegistersThatDoNotExistAreErrors) {
    read(0x40);
    write(kEsr, 0);
    EXPECT_EQ(read(kEsr), 1u << 7);
}

TEST_F(Apic, DestinationsArePhysicalOrLogical) {
    const auto sent_to = [&](u8 destination, bool logical) {
        return apic.deliver({.destination = destination, .logical = logical, .vector = 0x40});
    };
    EXPECT_TRUE(sent_to(0, false));
    EXPECT_FALSE(sent_to(1, false));
    EXPECT_TRUE(sent_to(0xff, false));
    EXPECT_FALSE(sent_to(0x04, true));
    write(kLdr, 0x06000000);
    EXPECT_TRUE(sent_to(0x04, true)) << "flat model: one common bit";
    EXPECT_FALSE(sent_to(0x08, true));
    write(kDfr, 0x0fffffff);
    write(kLdr, 0x26000000);
    EXPECT_TRUE(sent_to(0x22, true)) << "cluster model: the cluster, and a common bit";
    EXPECT_FALSE(sent_to(0x32, true));
    EXPECT_FALSE(sent_to(0x21, true));
}

TEST_F(Apic, TheCpuCanInterruptItself) {
    write(kIcr, 1 << 18 | 0x61);  // shorthand: self
    EXPECT_EQ(apic.acknowledge(), 0x61);
    write(kEoi, 0);
    write(kIcr, 2 << 18 | 0x62);  // all with self
    EXPECT_EQ(apic.acknowledge(), 0x62);
    write(kEoi, 0);
    write(kIcr, 3 << 18 | 0x63);  // all but self
    EXPECT_FALSE(apic.pending());
    write(kIcrHigh, 0);
    write(kIcr, 0x64);
    EXPECT_EQ(apic.acknowledge(), 0x64);
    write(kEoi, 0);
    write(kIcrHigh, 0x05000000);
    write(kIcr, 0x65);  // somebody else
    EXPECT_FALSE(apic.pending());
    write(kIcr, 1 << 18 | 0x05);
    write(kEsr, 0);
    EXPECT_EQ(read(kEsr), 1u << 5) << "an illegal vector sent";
}

TEST_F(Apic, AnNmiReachesTheMachineAndAnInitResetsIt) {
    write(kIcr, 2 << 18 | 4 << 8);
    EXPECT_TRUE(machine->take_nmi());
    write(kIcr, 2 << 18 | 5 << 8);  // deasserted: nothing
    EXPECT_FALSE(machine->take_request());
    write(kIcr, 2 << 18 | 1 << 14 | 6 << 8);  // a start-up message to a CPU that runs: nothing
    EXPECT_FALSE(machine->take_request());
    write(kIcr, 2 << 18 | 1 << 14 | 5 << 8);
    const auto request = machine->take_request();
    ASSERT_TRUE(request);
    EXPECT_EQ(request->kind, RequestKind::Reset);
}

// --- the timer

TEST_F(Apic, ATimerThatIsDueIsNotLostWhenItsBaseIsSetToWhatItIs) {
    write(kDivide, kBy1);
    write(kLvtTimer, 0x30);
    write(kInitial, 1000);
    clock.skip_to(clock.now() + 1000);
    apic.set_apic_base(base | 0x900);
    clock.fire_due();
    EXPECT_TRUE(apic.pending());
}

TEST_F(Apic, TheTimerCountsDownOnce) {
    write(kDivide, kBy1);
    write(kLvtTimer, 0x30);
    write(kInitial, 1000);
    pass(clock, 999);
    EXPECT_EQ(read(kCurrent), 1u);
    EXPECT_FALSE(apic.pending());
    pass(clock, 1);
    EXPECT_EQ(read(kCurrent), 0u);
    EXPECT_EQ(apic.acknowledge(), 0x30);
    write(kEoi, 0);
    pass(clock, 5000);
    EXPECT_FALSE(apic.pending());
}

TEST_F(Apic, ThePeriodicTimerStartsAgainByItself) {
    write(kDivide, kBy1);
    write(kLvtTimer, kPeriodic | 0x30);
    write(kInitial, 1000);
    for (int i = 0; i < 3; ++i) {
        pass(clock, 999);
        EXPECT_FALSE(apic.pending());
        pass(clock, 1);
        EXPECT_EQ(apic.acknowledge(), 0x30);
        write(kEoi, 0);
        EXPECT_EQ(read(kCurrent), 1000u);
    }
    write(kInitial, 0);
    pass(clock, 5000);
    EXPECT_FALSE(apic.pending()) << "a count of 0 stops it";
}

TEST_F(Apic, TheDividerSlowsTheTimerDown) {
    const std::pair<u32, u64> dividers[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {0xa, 128}, {0xb, 1}};
    for (const auto& [code, divisor] : dividers) {
        write(kDivide, code);
        EXPECT_EQ(read(kDivide), code);
        write(kInitial, 1000);
        pass(clock, 100 * divisor);
        EXPECT_EQ(read(kCurrent), 900u) << divisor;
    }
}

TEST_F(Apic, ANewDividerLeavesTheCount) {
    write(kDivide, kBy1);
    write(kInitial, 1000);
    pass(clock, 400);
    write(kDivide, kBy2);
    EXPECT_EQ(read(kCurrent), 600u);
    pass(clock, 200);
    EXPECT_EQ(read(kCurrent), 500u);
}

TEST_F(Apic, WritesWithinATickDoNotStopTheTimer) {
    write(kDivide, 0xa);  // by 128
    write(kLvtTimer, 0x30);
    write(kInitial, 10);
    for (unsigned i = 0; i < 128; ++i) {
        write(kLvtTimer, 0x30 + i % 2);
        write(kDivide, 0xa);
        pass(clock, 5);
    }
    EXPECT_EQ(read(kCurrent), 5u);
}

// Time is past its end, and nobody has looked yet.
TEST_F(Apic, ATimerThatHasEndedInterruptsWhateverIsWrittenThen) {
    const std::pair<u64, u32> writes[] = {
        {kLvtTimer, 0x30}, {kLvtTimer, kMasked | 0x30}, {kDivide, kBy2}, {kInitial, 0}, {kSvr, 0x1ff}};
    for (const auto& [reg, value] : writes) {
        write(kDivide, kBy1);
        write(kLvtTimer, 0x30);
        write(kInitial, 1000);
        clock.skip_to(clock.now() + 1001);
        write(reg, value);
        clock.fire_due();
        ASSERT_TRUE(apic.pending()) << std::hex << reg;
        EXPECT_EQ(apic.acknowledge(), 0x30);
        write(kEoi, 0);
        pass(clock, 5000);
        EXPECT_FALSE(apic.pending()) << std::hex << reg << ": once";
    }
}

// The host's clock goes on between a write and the look at when the timer ends, and between two writes: by any time, on
// a busy host.
class ApicInHostTime : public Apic {
protected:
    std::unique_ptr<Machine> host_time = *Machine::create({.memory_mebibytes = 2, .clock = ClockKind::Host});
    LocalApic apic_in_it{*host_time, pic, LocalApic::AfterReset::Architectural};

    void put(u64 reg, u64 value) { host_time->vio().write_mmio(base + reg, 4, value); }
    ApicInHostTime() {
        put(kSvr, 0x1ff);
        put(kDivide, kBy1);
    }
};

TEST_F(ApicInHostTime, AOneShotIsNotLostThoughItsTimeIsOverWhenItIsArmed) {
    put(kLvtTimer, 0x30);
    put(kInitial, 1);
    while (host_time->clock().now() < 1'000) {
    }
    host_time->clock().fire_due();
    EXPECT_TRUE(apic_in_it.pending());
}

TEST_F(ApicInHostTime, WritesJustBeforeAPeriodicTickDoNotSwallowIt) {
    put(kLvtTimer, kPeriodic | 0x30);
    put(kInitial, 200'000);
    while (host_time->clock().now() < 2'000'000) put(kLvtTimer, kPeriodic | 0x30);
    host_time->clock().fire_due();  // if it was busy with other things all the time
    EXPECT_TRUE(apic_in_it.pending());
}

TEST_F(Apic, AOneShotThatEndsWhileItIsMaskedDoesNotInterruptLater) {
    write(kDivide, kBy1);
    write(kLvtTimer, kMasked | 0x30);
    write(kInitial, 1000);
    pass(clock, 2000);
    write(kLvtTimer, 0x30);
    pass(clock, 2000);
    EXPECT_FALSE(apic.pending());
}

TEST_F(Apic, AMaskedTimerCountsSilently) {
    write(kDivide, kBy1);
    write(kLvtTimer, kMasked | 0x30);
    write(kInitial, 1000);
    EXPECT_EQ(clock.next_deadline(), kNever) << "it stops no engine";
    pass(clock, 300);
    EXPECT_EQ(read(kCurrent), 700u);
    write(kLvtTimer, 0x30);
    EXPECT_EQ(clock.next_deadline(), 1000u);
}

// --- pins

TEST_F(Apic, InterruptsOfThe8259sPassThroughLint0WhateverTheTaskPriority) {
    IrqLine lint0 = apic.lint(0);
    lint0.raise();
    EXPECT_FALSE(apic.pending()) << "masked";
    write(kTpr, 0xff);
    write(kLint0, 0x700);
    EXPECT_TRUE(apic.pending());
    EXPECT_EQ(apic.acknowledge(), 0x77);
    lint0.lower();
    EXPECT_FALSE(apic.pending());
}

TEST_F(Apic, DisabledItIsNotThereAndLint0IsIntr) {
    IrqLine lint0 = apic.lint(0);
    lint0.raise();
    machine->apic_base_changed(LocalApic::kUsualBase);
    EXPECT_EQ(machine->vio().read_mmio(base + 0x30, 4), 0xffffffffu);
    EXPECT_TRUE(apic.pending());
    EXPECT_EQ(apic.acknowledge(), 0x77);
}

TEST_F(Apic, TheRegistersMoveWithTheBase) {
    machine->apic_base_changed(0xfe000000 | 1 << 11);
    EXPECT_EQ(machine->vio().read_mmio(0xfe000030, 4) & 0xff, 0x14u);
    EXPECT_EQ(machine->vio().mmio().find(base), nullptr);
}

TEST_F(Apic, TheBaseMayBeAbove4GiB) {
    machine->apic_base_changed(0x1fee00000 | 1 << 11);
    EXPECT_EQ(machine->vio().read_mmio(0x1fee00030, 4) & 0xff, 0x14u);
    EXPECT_EQ(machine->vio().mmio().find(base), nullptr);
}

TEST_F(Apic, AFixedInterruptOfAPinIsByEdgeOrByLevel) {
    IrqLine lint0 = apic.lint(0);
    write(kLint0, 0x44);
    lint0.raise();
    EXPECT_EQ(apic.acknowledge(), 0x44);
    write(kEoi, 0);
    EXPECT_FALSE(apic.pending());
    lint0.lower();

    write(kLint0, 1 << 15 | 0x44);
    lint0.raise();
    EXPECT_EQ(read(kLint0), 1u << 15 | 1u << 14 | 0x44u) << "remote IRR";
    EXPECT_EQ(apic.acknowledge(), 0x44);
    write(kEoi, 0);
    EXPECT_TRUE(apic.pending()) << "the level is still there";
    EXPECT_EQ(apic.acknowledge(), 0x44);
    lint0.lower();
    write(kEoi, 0);
    EXPECT_FALSE(apic.pending());
}

TEST_F(Apic, Lint0InNmiModeMayWakeACpuThatTakesNoInterrupts) {
    constexpr u32 kNmi = 4 << 8;
    EXPECT_FALSE(machine->may_raise_nmi());
    write(kLint0, kNmi);
    EXPECT_TRUE(machine->may_raise_nmi());
    write(kLint0, kMasked | kNmi);
    EXPECT_FALSE(machine->may_raise_nmi());
}

TEST_F(Apic, Lint1CanBeNmi) {
    IrqLine lint1 = apic.lint(1);
    write(kLint1, 0x400);
    lint1.raise();
    EXPECT_TRUE(machine->take_nmi());
}

TEST_F(Apic, VirtualWireModeNeedsNoFirmware) {
    LocalApic wired(*machine, pic, LocalApic::AfterReset::VirtualWire);
    IrqLine lint0 = wired.lint(0);
    lint0.raise();
    EXPECT_TRUE(wired.pending());
}

TEST_F(Apic, AccessesThatAreNotDwordsDoNotWrite) {
    machine->vio().write_mmio(base + kTpr, 1, 0x20);
    machine->vio().write_mmio(base + kTpr + 4, 4, 0x20);
    EXPECT_EQ(read(kTpr), 0u);
    write(kTpr, 0x21);
    EXPECT_EQ(machine->vio().read_mmio(base + kTpr, 1), 0x21u);
    EXPECT_EQ(machine->vio().read_mmio(base + kTpr + 4, 4), 0u);
}

TEST_F(Apic, ALoadedTimerGoesOnWhereItWasSaved) {
    write(kDivide, kBy1);
    write(kLvtTimer, kPeriodic | 0x30);
    write(kInitial, 1000);
    send(0x55);
    pass(clock, 250);
    const auto bytes = saved(apic);
    apic.reset();
    pass(clock, 99'999);
    ASSERT_TRUE(load(apic, bytes));
    EXPECT_EQ(read(kCurrent), 750u);
    EXPECT_EQ(apic.acknowledge(), 0x55);
    write(kEoi, 0);
    pass(clock, 750);
    EXPECT_EQ(apic.acknowledge(), 0x30);
}

}  // namespace
}  // namespace dualvm::devices
