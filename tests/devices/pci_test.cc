#include "dualvm/devices/pci.h"

#include "device_test.h"
#include "dualvm/devices/i440fx.h"
#include "dualvm/devices/pc.h"
#include "dualvm/devices/pci_config.h"
#include "dualvm/devices/piix3_isa.h"

namespace dualvm::devices {
namespace {

// A function with a BAR of each kind and an interrupt pin; what is written to a BAR can be read there.
class Board final : public Device, public PciFunction {
public:
    explicit Board(u8 pin = 1)
        : PciFunction(
              {.vendor = 0x1234, .device = 0x5678, .class_code = 0x0380aa, .revision = 9, .interrupt_pin = pin}) {
        add_bar(0, {.kind = PciBar::Kind::Ports, .size = 16, .device = this});
        add_bar(1, {.kind = PciBar::Kind::Memory, .size = 0x1000, .device = this, .device_offset = 0x100});
        add_bar(2, {.kind = PciBar::Kind::Memory, .size = 0x10000, .prefetchable = true});
    }
    const char* name() const override { return "board"; }
    u64 read(u64 offset, unsigned) override { return 0x40 + offset; }
    void write(u64 offset, unsigned, u64 value) override { written = {offset, value}; }
    void reset() override { reset_config(); }
    void save(ArchiveWriter& out) const override { save_config(out); }
    void load(ArchiveReader& in) override { load_config(in); }
    void bar_moved(unsigned index, std::optional<u64> at) override { moved = {index, at}; }
    using PciFunction::set_interrupt;

    std::pair<u64, u64> written{};
    std::pair<unsigned, std::optional<u64>> moved{};
};

class Pci : public testing::Test {
protected:
    void SetUp() override {
        auto owned = std::make_unique<PciBus>(machine->vio());
        bus = owned.get();
        config = std::make_unique<PciConfigurationPorts>(*machine, std::move(owned), nullptr);
        bus->attach(3, 0, board);
        ASSERT_TRUE(machine->vio().ports().add(0xcf8, 8, *config));
    }
    u64 in(u16 port, unsigned size) { return machine->vio().read_port(port, size); }
    void out(u16 port, u64 value, unsigned size) { machine->vio().write_port(port, size, value); }
    void select(unsigned slot, unsigned reg) { out(0xcf8, 0x80000000 | slot << 11 | reg, 4); }
    u64 get(unsigned slot, unsigned reg, unsigned size) {
        select(slot, reg);
        return in(static_cast<u16>(0xcfc + (reg & 3)), size);
    }
    void set(unsigned slot, unsigned reg, u64 value, unsigned size) {
        select(slot, reg);
        out(static_cast<u16>(0xcfc + (reg & 3)), value, size);
    }

    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 1});
    Board board;
    PciBus* bus = nullptr;
    std::unique_ptr<PciConfigurationPorts> config;
};

TEST_F(Pci, AFunctionNamesItself) {
    EXPECT_EQ(get(3, 0, 4), 0x56781234u);
    EXPECT_EQ(get(3, 2, 2), 0x5678u);
    EXPECT_EQ(get(3, 8, 4), 0x0380aa09u);
    EXPECT_EQ(get(3, 0x3d, 1), 1u);
    set(3, 0, 0, 4);
    EXPECT_EQ(get(3, 0, 4), 0x56781234u);
}

TEST_F(Pci, NobodyAnswersWithAllOnes) {
    EXPECT_EQ(get(4, 0, 4), 0xffffffffu);
    out(0xcf8, 0x80010000, 4);  // bus 1
    EXPECT_EQ(in(0xcfc, 4), 0xffffffffu);
    out(0xcf8, 0x00001800, 4);  // not enabled
    EXPECT_EQ(in(0xcfc, 4), 0xffffffffu);
}

TEST_F(Pci, TheAddressRegisterIsADword) {
    out(0xcf8, 0xffffffff, 4);
    EXPECT_EQ(in(0xcf8, 4), 0x80fffffcu);
    out(0xcf8, 0, 2);
    EXPECT_EQ(in(0xcf8, 4), 0x80fffffcu);
}

TEST_F(Pci, BarsTellTheirSize) {
    for (unsigned bar = 0; bar < 4; ++bar) set(3, 0x10 + 4 * bar, 0xffffffff, 4);
    EXPECT_EQ(get(3, 0x10, 4), 0xfffffff1u);
    EXPECT_EQ(get(3, 0x14, 4), 0xfffff000u);
    EXPECT_EQ(get(3, 0x18, 4), 0xffff0008u);
    EXPECT_EQ(get(3, 0x1c, 4), 0u);
}

TEST_F(Pci, ABarAnswersWhereItIsPutAndOnlyWhileDecodingIsOn) {
    set(3, 0x10, 0xc000, 4);
    EXPECT_EQ(in(0xc004, 1), 0xffu);
    set(3, 4, 1, 2);
    EXPECT_EQ(in(0xc004, 1), 0x44u);
    set(3, 0x10, 0xd000, 4);
    EXPECT_EQ(in(0xc004, 1), 0xffu);
    EXPECT_EQ(in(0xd004, 1), 0x44u);
    set(3, 4, 0, 2);
    EXPECT_EQ(in(0xd004, 1), 0xffu);
}

TEST_F(Pci, MemoryBarsAreMmioAtTheirDevicesOffset) {
    set(3, 0x14, 0xe0000000, 4);
    set(3, 4, 2, 2);
    machine->vio().write_mmio(0xe0000010, 4, 7);
    EXPECT_EQ(board.written, std::pair(u64{0x110}, u64{7}));
}

TEST_F(Pci, AFunctionIsToldWhereABarWithoutDeviceIs) {
    set(3, 0x18, 0xe1000000, 4);
    set(3, 4, 2, 2);
    EXPECT_EQ(board.moved, std::pair(2u, std::optional<u64>(0xe1000000)));
    set(3, 4, 0, 2);
    EXPECT_EQ(board.moved, std::pair(2u, std::optional<u64>()));
}

TEST_F(Pci, OverAnotherDeviceABarWaitsUntilThereIsRoom) {
    Board other;
    bus->attach(4, 0, other);
    set(3, 4, 1, 2);
    set(4, 4, 1, 2);
    set(3, 0x10, 0xc000, 4);
    set(4, 0x10, 0xc000, 4);
    EXPECT_EQ(board.bar(0).at, 0xc000u);
    EXPECT_EQ(other.bar(0).at, std::nullopt);
    set(3, 0x10, 0xc010, 4);
    EXPECT_EQ(other.bar(0).at, 0xc000u);
    set(3, 0x10, 0x0cf0, 4);  // the configuration ports themselves
    EXPECT_EQ(board.bar(0).at, std::nullopt);
    EXPECT_EQ(get(3, 0, 4), 0x56781234u);
}

TEST_F(Pci, BarsPastTheEndOfThePortsAnswerNowhere) {
    set(3, 4, 1, 2);
    set(3, 0x10, 0xfffffff0, 4);
    EXPECT_EQ(board.bar(0).at, std::nullopt);
    set(3, 0x10, 0xfff0, 4);
    EXPECT_EQ(board.bar(0).at, 0xfff0u);
}

TEST_F(Pci, ErrorsInTheStatusRegisterAreClearedByOnes) {
    EXPECT_EQ(get(3, 6, 2), 0x0200u);
    set(3, 6, 0xffff, 2);
    EXPECT_EQ(get(3, 6, 2), 0x0200u);
}

TEST_F(Pci, FunctionsShareAnInterruptWire) {
    Board same_wire(2), other_wire(1);  // INTB# of slot 2 is INTA# of slot 3
    bus->attach(2, 0, same_wire);
    bus->attach(5, 0, other_wire);
    std::array<int, 4> changes{};
    bus->on_pirq([&](unsigned pirq, bool) { ++changes[pirq]; });
    board.set_interrupt(true);
    same_wire.set_interrupt(true);
    EXPECT_TRUE(bus->pirq(2));
    EXPECT_EQ(get(3, 6, 2), 0x0208u);
    board.set_interrupt(false);
    EXPECT_TRUE(bus->pirq(2));
    same_wire.set_interrupt(false);
    EXPECT_FALSE(bus->pirq(2));
    EXPECT_EQ(changes, (std::array<int, 4>{0, 0, 2, 0}));
}

TEST_F(Pci, AnInterruptCanBeDisabledInTheCommandRegister) {
    board.set_interrupt(true);
    set(3, 4, 0x400, 2);
    EXPECT_FALSE(bus->pirq(2));
    set(3, 4, 0, 2);
    EXPECT_TRUE(bus->pirq(2));
}

TEST_F(Pci, SavedAndLoadedBarsAnswerWhereTheyDid) {
    set(3, 0x10, 0xc000, 4);
    set(3, 4, 1, 2);
    const auto archive = saved(board);
    board.reset();
    EXPECT_EQ(board.bar(0).at, std::nullopt);
    ASSERT_TRUE(load(board, archive));
    EXPECT_EQ(board.bar(0).at, 0xc000u);
    EXPECT_FALSE(load(board, std::vector<u8>(archive.begin(), archive.end() - 1)));
    EXPECT_EQ(board.bar(0).at, std::nullopt);
}

TEST_F(Pci, TheResetControlRegisterLiesBetween) {
    out(0xcf9, 6, 1);
    ASSERT_TRUE(machine->pending_request());
    EXPECT_EQ(machine->pending_request()->kind, RequestKind::Reset);
}

// --- the chipset ---------------------------------------------------------------------------------------------------

class HostBridge : public testing::Test {
protected:
    u8 byte(u64 address) const {
        u8 b = 0;
        EXPECT_TRUE(vmem->read(address, &b, 1));
        return b;
    }
    std::unique_ptr<VMem> vmem = *VMem::create(1);
};

TEST_F(HostBridge, AfterResetTheBiosShowsBelowOneMebibyteAndNothingElse) {
    std::vector<u8> bios(0x20000, 0xab);
    I440Fx bridge(*vmem, I440Fx::AfterReset::Rom);
    ASSERT_TRUE(vmem->add_rom(0xfffe0000, bios));
    EXPECT_EQ(byte(0xe0000), 0xab);
    EXPECT_EQ(byte(0xfffff), 0xab);
    EXPECT_EQ(byte(0xc0000), 0xff);
    const u8 b = 1;
    EXPECT_FALSE(vmem->write(0xf0000, &b, 1));
}

TEST_F(HostBridge, AttributesChooseWhatIsReadAndWritten) {
    std::vector<u8> bios(0x20000, 0xab);
    ASSERT_TRUE(vmem->add_rom(0xfffe0000, bios));
    I440Fx bridge(*vmem, I440Fx::AfterReset::Rom);
    bridge.write_config(0x59, 1, 0x30);  // F0000h: RAM
    const u8 b = 0x12;
    ASSERT_TRUE(vmem->write(0xf0000, &b, 1));
    EXPECT_EQ(byte(0xf0000), 0x12);
    EXPECT_EQ(byte(0xeffff), 0xab);
    bridge.write_config(0x59, 1, 0x10);  // read only
    EXPECT_EQ(byte(0xf0000), 0x12);
    EXPECT_FALSE(vmem->write(0xf0000, &b, 1));
    bridge.write_config(0x5a, 1, 0x03);  // C0000h-C3FFFh alone
    EXPECT_TRUE(vmem->write(0xc3fff, &b, 1));
    EXPECT_FALSE(vmem->write(0xc4000, &b, 1));
}

TEST_F(HostBridge, RamCanBeWrittenBehindTheRomThatIsRead) {
    std::vector<u8> bios(0x20000, 0xab);
    ASSERT_TRUE(vmem->add_rom(0xfffe0000, bios));
    I440Fx bridge(*vmem, I440Fx::AfterReset::Rom);
    bridge.write(0x30000, 2, 0x0201);
    bridge.write_config(0x59, 1, 0x20);
    bridge.write(0x30004, 2, 0x0403);
    EXPECT_EQ(byte(0xf0004), 0xab);
    bridge.write_config(0x59, 1, 0x30);
    EXPECT_EQ(byte(0xf0000), 0);
    EXPECT_EQ(byte(0xf0004), 3);
    EXPECT_EQ(byte(0xf0005), 4);
}

TEST_F(HostBridge, WithoutFirmwareAllIsRam) {
    I440Fx bridge(*vmem, I440Fx::AfterReset::Ram);
    EXPECT_EQ(vmem->regions().size(), 1u);
    bridge.write_config(0x59, 1, 0);
    bridge.reset();
    EXPECT_EQ(vmem->regions().size(), 1u);
}

TEST_F(HostBridge, AMoveOfMemoryIsSeenByEnginesAndKeepsTheDirtyAccount) {
    I440Fx bridge(*vmem, I440Fx::AfterReset::Ram);
    const u8 b = 1;
    ASSERT_TRUE(vmem->write(0xfffff, &b, 1));
    const u64 generation = vmem->map_generation();
    bridge.write_config(0x5a, 1, 0);
    EXPECT_GT(vmem->map_generation(), generation);
    EXPECT_TRUE(vmem->is_dirty(0xfffff));
    EXPECT_TRUE(vmem->is_dirty(0xc0000));
    EXPECT_FALSE(vmem->is_dirty(0xc8000));
}

class InterruptRouter : public testing::Test {
protected:
    InterruptRouter() {
        for (unsigned i = 0; i < 16; ++i) lines[i] = wires[i].line();
        router = std::make_unique<Piix3Isa>(bus, std::move(lines));
        bus.attach(1, 0, *router);
        bus.attach(2, 0, first);
        bus.attach(3, 0, second);
    }
    VIo vio;
    PciBus bus{vio};
    std::array<Wire, 16> wires;
    Piix3Isa::IsaInterrupts lines;
    std::unique_ptr<Piix3Isa> router;
    Board first, second;
};

TEST_F(InterruptRouter, LeadsAWireToTheInputThatItsRegisterNames) {
    first.set_interrupt(true);
    for (const Wire& w : wires) EXPECT_FALSE(w.level());
    router->write_config(0x61, 1, 11);
    EXPECT_TRUE(wires[11].level());
    router->write_config(0x61, 1, 5);
    EXPECT_FALSE(wires[11].level());
    EXPECT_TRUE(wires[5].level());
    router->write_config(0x61, 1, 0x85);
    EXPECT_FALSE(wires[5].level());
}

TEST_F(InterruptRouter, TwoWiresCanShareAnInput) {
    router->write_config(0x60, 4, 0x0a0a0a0a);
    first.set_interrupt(true);
    second.set_interrupt(true);
    first.set_interrupt(false);
    EXPECT_TRUE(wires[10].level());
    second.set_interrupt(false);
    EXPECT_FALSE(wires[10].level());
    EXPECT_EQ(wires[10].take_rises(), 1);
}

TEST_F(InterruptRouter, TheTimersInputIsNotForPci) {
    router->write_config(0x61, 1, 0);
    first.set_interrupt(true);
    EXPECT_FALSE(wires[0].level());
}

}  // namespace
}  // namespace dualvm::devices
