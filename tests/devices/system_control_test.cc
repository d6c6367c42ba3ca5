// Port 92h, the PCI configuration ports with CF9h, and the 8042's part in A20 and reset.
#include "dualvm/devices/system_control.h"

#include "device_test.h"
#include "dualvm/devices/i8042.h"
#include "dualvm/devices/pci_config.h"

namespace dualvm::devices {
namespace {

class OnAMachine : public testing::Test {
protected:
    bool reset_asked() {
        const auto request = machine->take_request();
        return request && request->kind == RequestKind::Reset;
    }
    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 2});
};

class Port92 : public OnAMachine {
protected:
    SystemControlPort port{*machine};
};

TEST_F(Port92, IsTheA20Gate) {
    EXPECT_EQ(port.read(0, 1), 2u);
    port.write(0, 1, 0);
    EXPECT_FALSE(machine->vmem().a20_open());
    EXPECT_EQ(port.read(0, 1), 0u);
    machine->vmem().set_a20(true);  // by the 8042
    EXPECT_EQ(port.read(0, 1), 2u);
    EXPECT_FALSE(reset_asked());
}

TEST_F(Port92, Bit0Resets) {
    port.write(0, 1, 3);
    EXPECT_TRUE(reset_asked());
    EXPECT_EQ(port.read(0, 1), 2u);
}

TEST_F(Port92, SavesTheGate) {
    port.write(0, 1, 0xc0);
    const auto bytes = saved(port);
    port.write(0, 1, 2);
    ASSERT_TRUE(load(port, bytes));
    EXPECT_FALSE(machine->vmem().a20_open());
    EXPECT_EQ(port.read(0, 1), 0xc0u);
}

class PciPorts : public OnAMachine {
protected:
    PciConfigurationPorts pci{*machine, std::make_unique<PciBus>(machine->vio()), nullptr};
};

TEST_F(PciPorts, FindsNoDevice) {
    pci.write(0, 4, 0x80000000);
    EXPECT_EQ(pci.read(0, 4), 0x80000000u);
    EXPECT_EQ(pci.read(4, 4) & 0xffffffff, 0xffffffffu);
    EXPECT_EQ(pci.read(4, 2) & 0xffff, 0xffffu);
    EXPECT_EQ(pci.read(7, 1) & 0xff, 0xffu);
}

TEST_F(PciPorts, TheAddressIsWrittenAsADwordOnly) {
    pci.write(0, 4, 0x80001234);
    pci.write(3, 1, 1);  // Linux's check for mechanism 1
    pci.write(0, 2, 0);
    EXPECT_EQ(pci.read(0, 4), 0x80001234u);
}

TEST_F(PciPorts, Cf9ResetsAsBit2Rises) {
    pci.write(1, 1, 2);
    EXPECT_FALSE(reset_asked());
    pci.write(1, 1, 6);
    EXPECT_TRUE(reset_asked());
    EXPECT_EQ(pci.read(1, 1), 6u);
    pci.write(1, 1, 6);
    EXPECT_FALSE(reset_asked());
}

TEST_F(PciPorts, AnAddressThatCoversCf9DoesNotReset) {
    pci.write(0, 4, 0xffffffff);
    EXPECT_FALSE(reset_asked());
}

TEST_F(PciPorts, SavesAddressAndResetControl) {
    pci.write(0, 4, 0x80000800);
    pci.write(1, 1, 2);
    PciConfigurationPorts other{*machine, std::make_unique<PciBus>(machine->vio()), nullptr};
    ASSERT_TRUE(load(other, saved(pci)));
    EXPECT_EQ(other.read(0, 4), 0x80000800u);
    EXPECT_EQ(other.read(1, 1), 2u);
}

class Keyboard : public OnAMachine {
protected:
    void command(unsigned value) { i8042.write(1, 1, value); }
    void data(unsigned value) { i8042.write(0, 1, value); }
    u64 status() { return i8042.read(1, 1); }
    // The answer, -1 if there is none.
    int answer() { return (status() & 1) ? static_cast<int>(i8042.read(0, 1)) : -1; }
    I8042 i8042{*machine};
};

TEST_F(Keyboard, SelfTestsPass) {
    command(0xaa);
    EXPECT_EQ(answer(), 0x55);
    command(0xab);
    EXPECT_EQ(answer(), 0x00);
    EXPECT_EQ(answer(), -1);
    EXPECT_EQ(status() & 0x14, 0x14u);
}

TEST_F(Keyboard, InputIsNeverFullSoThatNobodyWaitsForEver) {
    command(0xd1);
    EXPECT_EQ(status() & 2, 0u);
    EXPECT_EQ(status() & 8, 8u) << "the last byte was a command";
    data(0xdf);
    EXPECT_EQ(status() & 8, 0u);
}

TEST_F(Keyboard, KeepsTheCommandByte) {
    command(0x60);
    data(0x47);
    command(0x20);
    EXPECT_EQ(answer(), 0x47);
    command(0xad);
    command(0x20);
    EXPECT_EQ(answer(), 0x57);
    command(0xae);
    command(0x20);
    EXPECT_EQ(answer(), 0x47);
}

TEST_F(Keyboard, OutputPortIsTheA20Gate) {
    command(0xd1);
    data(0xdd);
    EXPECT_FALSE(machine->vmem().a20_open());
    command(0xd0);
    EXPECT_EQ(answer() & 3, 1);
    command(0xd1);
    data(0xdf);
    EXPECT_TRUE(machine->vmem().a20_open());
    command(0xdd);
    EXPECT_FALSE(machine->vmem().a20_open());
    command(0xdf);
    EXPECT_TRUE(machine->vmem().a20_open());
    EXPECT_FALSE(reset_asked());
}

TEST_F(Keyboard, PulsingBit0Resets) {
    command(0xff);
    EXPECT_FALSE(reset_asked());
    command(0xfe);
    EXPECT_TRUE(reset_asked());
    command(0xd1);
    data(0x02);
    EXPECT_TRUE(reset_asked());
}

TEST_F(Keyboard, ThereIsNoMouse) {
    command(0xa9);
    EXPECT_NE(answer(), 0);
    command(0xd4);
    data(0xff);
    EXPECT_EQ(answer(), -1);
}

TEST_F(Keyboard, SavesACommandThatWaitsForItsData) {
    command(0x60);
    I8042 other{*machine};
    ASSERT_TRUE(load(other, saved(i8042)));
    other.write(0, 1, 0x12);
    other.write(1, 1, 0x20);
    EXPECT_EQ(other.read(0, 1), 0x12u);
}

}  // namespace
}  // namespace dualvm::devices
