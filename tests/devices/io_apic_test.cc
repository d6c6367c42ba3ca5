// The I/O APIC by made-up accesses.
#include "dualvm/devices/io_apic.h"

#include "device_test.h"

namespace dualvm::devices {
namespace {

constexpr u32 kMasked = 1 << 16, kLevel = 1 << 15, kRemoteIrr = 1 << 14;

class IoApicTest : public testing::Test {
protected:
    u32 read(u8 index) {
        apic.write(0, 4, index);
        return static_cast<u32>(apic.read(0x10, 4));
    }
    void write(u8 index, u32 value) {
        apic.write(0, 4, index);
        apic.write(0x10, 4, value);
    }
    void entry(unsigned number, u32 low, u32 high = 0) {
        write(static_cast<u8>(0x11 + 2 * number), high);
        write(static_cast<u8>(0x10 + 2 * number), low);
    }
    std::size_t take_sent() { return std::exchange(sent, {}).size(); }

    std::vector<ApicMessage> sent;
    bool somebody_takes_it = true;
    IoApic apic{[this](const ApicMessage& message) {
        sent.push_back(message);
        return somebody_takes_it;
    }};
    IrqLine wire = apic.input(4);
};

TEST_F(IoApicTest, Has24MaskedInputs) {
    EXPECT_EQ(read(1), 0x00170020u);
    for (u8 i = 0; i < 24; ++i) EXPECT_EQ(read(static_cast<u8>(0x10 + 2 * i)), kMasked);
    EXPECT_EQ(read(0x40), 0u) << "behind the last";
    write(0, 0x0f000000);
    EXPECT_EQ(read(0), 0x0f000000u);
}

TEST_F(IoApicTest, AnEdgeSendsTheEntrysMessageOnce) {
    entry(4, 0x0900 | 0x34, 0x03000000);
    wire.raise();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].vector, 0x34);
    EXPECT_EQ(sent[0].destination, 3);
    EXPECT_EQ(sent[0].delivery_mode, apic_delivery::LowestPriority);
    EXPECT_TRUE(sent[0].logical);
    EXPECT_FALSE(sent[0].level_triggered);
    wire.lower();
    EXPECT_EQ(take_sent(), 1u);
}

TEST_F(IoApicTest, AnEdgeOnAMaskedInputIsLost) {
    entry(4, kMasked | 0x34);
    wire.raise();
    entry(4, 0x34);
    EXPECT_EQ(take_sent(), 0u);
}

TEST_F(IoApicTest, ALevelIsSentAgainAfterItsEndWhileItLasts) {
    entry(4, kLevel | 0x34);
    wire.raise();
    EXPECT_EQ(take_sent(), 1u);
    EXPECT_EQ(read(0x18), kLevel | kRemoteIrr | 0x34);
    apic.end_of_interrupt(0x35);
    EXPECT_EQ(take_sent(), 0u) << "another's end";
    apic.end_of_interrupt(0x34);
    EXPECT_EQ(take_sent(), 1u);
    wire.lower();
    apic.end_of_interrupt(0x34);
    EXPECT_EQ(take_sent(), 0u);
    EXPECT_EQ(read(0x18), kLevel | 0x34);
}

TEST_F(IoApicTest, ALevelOnAMaskedInputIsSentWhenItIsUnmasked) {
    entry(4, kMasked | kLevel | 0x34);
    wire.raise();
    EXPECT_EQ(take_sent(), 0u);
    entry(4, kLevel | 0x34);
    EXPECT_EQ(take_sent(), 1u);
    entry(4, kMasked | kLevel | 0x34);
    entry(4, kLevel | 0x34);
    EXPECT_EQ(take_sent(), 0u) << "it has not been ended yet";
}

TEST_F(IoApicTest, ALevelThatNobodyTookHasNoEndToWaitFor) {
    somebody_takes_it = false;
    entry(4, kLevel | 0x34);
    wire.raise();
    EXPECT_EQ(read(0x18), kLevel | 0x34);
}

TEST_F(IoApicTest, TheEoiRegisterEndsAnInterruptAndSoDoesMakingItAnEdge) {
    entry(4, kLevel | 0x34);
    wire.raise();
    wire.lower();
    apic.write(0x40, 4, 0x34);
    EXPECT_EQ(read(0x18), kLevel | 0x34);
    wire.raise();
    wire.lower();
    entry(4, 0x34);
    EXPECT_EQ(read(0x18), 0x34u);
}

TEST_F(IoApicTest, StatusBitsCannotBeWritten) {
    entry(4, 0xffffffff, 0xffffffff);
    EXPECT_EQ(read(0x18), 0x1afffu);
    EXPECT_EQ(read(0x19), 0xff000000u);
}

TEST_F(IoApicTest, SavesItsTableAndInputs) {
    entry(4, kLevel | 0x34);
    wire.raise();
    const auto bytes = saved(apic);
    apic.reset();
    ASSERT_TRUE(load(apic, bytes));
    take_sent();
    apic.end_of_interrupt(0x34);
    EXPECT_EQ(take_sent(), 1u);
}

}  // namespace
}  // namespace dualvm::devices
