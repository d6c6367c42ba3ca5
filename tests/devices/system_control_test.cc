// Port 92h and the PCI configuration ports with CF9h: A20 and reset.
#include "dualvm/devices/system_control.h"

#include "device_test.h"
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

}  // namespace
}  // namespace dualvm::devices
