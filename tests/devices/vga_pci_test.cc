// DISPI's limits; the PCI function and the linear frame buffer as the guest moves it.
#include "dualvm/devices/io_apic.h"
#include "dualvm/devices/pc.h"
#include "vga_test_machine.h"

namespace dualvm::devices {
namespace {

class VgaDispi : public VgaTest {};  // with 1 MiB

TEST_F(VgaDispi, IdentifiesItself) {
    EXPECT_EQ(vbe(Dispi::kId), 0xb0c5u);
    vbe(Dispi::kId, 0xb0c2);
    EXPECT_EQ(vbe(Dispi::kId), 0xb0c2u);
    vbe(Dispi::kId, 0x1234);
    EXPECT_EQ(vbe(Dispi::kId), 0xb0c2u);
    EXPECT_EQ(vbe(Dispi::kMemory), 16u);
    EXPECT_EQ(vbe(77), 0u);
}

TEST_F(VgaDispi, TellsItsLimits) {
    vbe(Dispi::kEnable, Dispi::kCapabilities);
    EXPECT_EQ(vbe(Dispi::kWidth), 16000u);
    EXPECT_EQ(vbe(Dispi::kHeight), 12000u);
    EXPECT_EQ(vbe(Dispi::kBits), 32u);
}

TEST_F(VgaDispi, WrongValuesBecomeTheNearestThatWork) {
    vbe_mode(0, 0, 7);
    EXPECT_EQ(vbe(Dispi::kWidth), 8u);
    EXPECT_EQ(vbe(Dispi::kHeight), 1u);
    EXPECT_EQ(vbe(Dispi::kBits), 8u);
    vbe_mode(645, 100, 8);
    EXPECT_EQ(vbe(Dispi::kWidth), 640u);
    vbe_mode(0xffff, 0xffff, 32);
    EXPECT_EQ(vbe(Dispi::kWidth), 16000u);
    EXPECT_EQ(vbe(Dispi::kHeight), 16u) << "as many lines as there is memory for";
    vbe_mode(1024, 768, 8);
    vbe(Dispi::kVirtualWidth, 800);
    EXPECT_EQ(vbe(Dispi::kVirtualWidth), 1024u);
    EXPECT_EQ(vbe(Dispi::kVirtualHeight), 1024u);
    vbe(Dispi::kY, 257);
    EXPECT_EQ(vbe(Dispi::kY), 0u) << "it would end behind the memory";
    vbe(Dispi::kY, 256);
    EXPECT_EQ(vbe(Dispi::kY), 256u);
}

TEST_F(VgaDispi, EnteringAModeClearsTheScreenUnlessAskedNotTo) {
    linear(0, 8, 0x1122334455667788);
    linear(64 * 48, 1, 0x99);
    vbe_mode(64, 48, 8, Dispi::kKeepMemory);
    EXPECT_EQ(linear(0, 8), 0x1122334455667788u);
    vbe_mode(64, 48, 8);
    EXPECT_EQ(linear(0, 8), 0u);
    EXPECT_EQ(linear(64 * 48, 1), 0x99u);
    EXPECT_TRUE(vga->used());
}

TEST_F(VgaDispi, VgaRegistersFollowTheMode) {
    vbe_mode(800, 600, 8);
    EXPECT_EQ((out(0x3d4, 1), in(0x3d5)), 99);
    EXPECT_EQ((out(0x3d4, 0x13), in(0x3d5)), 100);
    EXPECT_EQ((out(0x3d4, 0x12), in(0x3d5)), 599 & 0xff);
    EXPECT_EQ((out(0x3ce, 6), in(0x3cf)), 0x07) << "graphics at A0000h; a bit of text mode stays";
    EXPECT_EQ((out(0x3c4, 4), in(0x3c5)) & 8, 8);
    vbe(Dispi::kEnable, 0);
    EXPECT_EQ(vga->screen().bits_per_pixel, 8u) << "what the registers say now";
}

TEST_F(VgaDispi, SwitchingOffEndsBanking) {
    vbe_mode(640, 400, 8);
    vbe(Dispi::kBank, 2);
    vbe(Dispi::kEnable, 0);
    vga->write(0, 1, 0x42);
    EXPECT_EQ(linear(0, 1), 0x42u);
}

class VgaPci : public testing::Test {
protected:
    static constexpr unsigned kSlot = 2;
    static constexpr u64 kVideoMemory = u64{16} << 20;

    u32 config(u8 at, unsigned size = 4) { return function().read_config(at, size); }
    void set_config(u8 at, u32 value, unsigned size = 4) { function().write_config(at, size, value); }
    PciFunction& function() { return *pc->pci().find(kSlot, 0); }
    void place(u32 frame_buffer) { set_config(pci::kBars, frame_buffer); }
    const MemoryRegion* region(u64 address) { return machine->vmem().find(address); }
    template <class T>
    T in_memory(u64 address) {
        T value{};
        EXPECT_TRUE(machine->vmem().read_value(address, value));
        return value;
    }

    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 64});
    std::unique_ptr<Pc> pc = *Pc::build(*machine, {});
};

TEST_F(VgaPci, IsQemusStandardAdapter) {
    EXPECT_EQ(config(0), 0x11111234u);
    EXPECT_EQ(config(8) >> 8, 0x030000u);
    EXPECT_EQ(config(pci::kBars) & 0xf, 8u) << "memory, prefetchable";
    place(~0u);
    EXPECT_EQ(config(pci::kBars), 0xff000008u) << "16 MiB";
    set_config(pci::kBars + 8, ~0u);
    EXPECT_EQ(config(pci::kBars + 8), 0xfffff000u);
}

TEST_F(VgaPci, TheFrameBufferIsMemoryWhereTheGuestPutsIt) {
    const u64 generation = machine->vmem().map_generation();
    place(0xd0000000);
    EXPECT_GT(machine->vmem().map_generation(), generation);
    const MemoryRegion* at = region(0xd0000000);
    ASSERT_NE(at, nullptr);
    EXPECT_EQ(at->kind, RegionKind::Ram);
    EXPECT_EQ(at->size, kVideoMemory);
    EXPECT_TRUE(machine->vmem().write_value<u32>(0xd0123450, 0x11223344));  // as a DMA would
    place(0xe2000000);
    EXPECT_EQ(region(0xd0000000), nullptr);
    EXPECT_EQ(in_memory<u32>(0xe2123450), 0x11223344u);
    set_config(pci::kCommand, 0, 2);
    EXPECT_EQ(region(0xe2000000), nullptr) << "memory is not decoded";
    set_config(pci::kCommand, pci::kDecodeMemory, 2);
    EXPECT_EQ(in_memory<u32>(0xe2123450), 0x11223344u);
}

TEST_F(VgaPci, OtherRegionsKeepTheirPagesInTheDirtyAccount) {
    machine->vmem().clear_dirty();
    machine->vmem().mark_dirty(0x5000);
    place(0xd0000000);
    place(0xe2000000);
    EXPECT_TRUE(machine->vmem().is_dirty(0x5000));
    EXPECT_EQ(machine->vmem().dirty_pages(), 1u);
}

TEST_F(VgaPci, RamAndRomWinAgainstTheFrameBuffer) {
    ASSERT_TRUE(machine->vmem().write_value<u32>(0x2000000, 0xcafe));
    place(0x2000000);  // RAM is there
    EXPECT_EQ(in_memory<u32>(0x2000000), 0xcafeu);
    EXPECT_FALSE(region(0x2000000)->device);
    place(0x3000000);
    EXPECT_FALSE(region(0x3000000)->device);
    place(0xf0000000);
    EXPECT_TRUE(region(0xf0000000)->device);
}

TEST_F(VgaPci, OtherDevicesWinAgainstTheFrameBuffer) {
    place(0xfe000000);  // the APICs are there
    EXPECT_EQ(region(0xfe000000), nullptr);
    EXPECT_EQ(machine->vio().mmio().find(0xfe000000), nullptr);
    ASSERT_NE(machine->vio().mmio().find(IoApic::kUsualBase), nullptr);
    EXPECT_STRNE(machine->vio().mmio().find(IoApic::kUsualBase)->device->name(), "vga");
    // Its own registers over the frame buffer, and the reverse.
    place(0xd0000000);
    set_config(pci::kBars + 8, 0xd0001000);
    EXPECT_TRUE(region(0xd0001000)->device);
    place(0xd4000000);  // now there is room
    EXPECT_EQ(region(0xd0001000), nullptr);
    EXPECT_EQ(machine->vio().read_mmio(0xd0001500, 2), 0xb0c5u);
}

TEST_F(VgaPci, WhereOnlyAPartIsFreeThePartIsAnsweredByTheDevice) {
    machine = *Machine::create({.memory_mebibytes = 40});
    pc = *Pc::build(*machine, {});
    place(0x2000000);  // 32 MiB: half of it is RAM
    machine->vio().write_mmio(0x2800000, 4, 0x55667788);
    place(0xd0000000);
    EXPECT_EQ(in_memory<u32>(0xd0800000), 0x55667788u);
}

TEST_F(VgaPci, AFrameBufferIsNoUsableRam) {
    place(0xd0000000);
    for (const MemoryRegion& r : machine->vmem().regions()) {
        EXPECT_EQ(r.device, r.base == 0xd0000000u);
    }
}

TEST_F(VgaPci, Bar2HasVgasAndVbesRegisters) {
    set_config(pci::kBars + 8, 0xd8000000);
    VIo& vio = machine->vio();
    vio.write_mmio(0xd8000400 + 0x14, 2, 0x550f);  // CRTC's index and data
    EXPECT_EQ(vio.read_mmio(0xd8000400 + 0x15, 1), 0x55u);
    EXPECT_EQ(vio.read_port(0x3d5, 1), 0x55u);
    vio.write_mmio(0xd8000500 + 2 * Dispi::kWidth, 2, 640);
    vio.write_port(0x1ce, 2, Dispi::kWidth);
    EXPECT_EQ(vio.read_port(0x1cf, 2), 640u);
    EXPECT_EQ(vio.read_mmio(0xd8000600, 4), 8u);
    EXPECT_EQ(vio.read_mmio(0xd8000604, 4), 0x1e1e1e1eu) << "little-endian";
}

TEST_F(VgaPci, TheScreenIsWhatLiesInTheFrameBuffer) {
    place(0xd0000000);
    VIo& vio = machine->vio();
    const auto vbe = [&vio](u16 index, u16 value) {
        vio.write_port(0x1ce, 2, index);
        vio.write_port(0x1cf, 2, value);
    };
    vbe(Dispi::kWidth, 640);
    vbe(Dispi::kHeight, 480);
    vbe(Dispi::kBits, 32);
    vbe(Dispi::kEnable, Dispi::kOn | Dispi::kLinear);
    ASSERT_TRUE(machine->vmem().write_value<u32>(0xd0000000 + 4 * 640, 0x00ff8001));
    EXPECT_EQ(pixel(pc->vga().picture(), 0, 1), (Rgb{0xff, 0x80, 0x01}));
}

TEST_F(VgaPci, AResetTakesTheFrameBufferAwayAndClearsIt) {
    machine = *Machine::create({.memory_mebibytes = 64});
    PcConfig firmware;
    firmware.firmware = FirmwareConfig{};
    pc = *Pc::build(*machine, firmware);
    set_config(pci::kCommand, pci::kDecodeMemory, 2);
    place(0xd0000000);
    machine->vmem().write_value<u32>(0xd0000000, 1);
    for (const auto& device : machine->devices()) device->reset();
    EXPECT_EQ(region(0xd0000000), nullptr);
    set_config(pci::kCommand, pci::kDecodeMemory, 2);
    place(0xd0000000);
    EXPECT_EQ(in_memory<u32>(0xd0000000), 0u);
}

TEST_F(VgaPci, WritesMayBeLateWhileNothingElseShowsTheMemory) {
    const Device& window = *machine->vio().mmio().find(Vga::kWindow)->device;
    const Device& ports = *machine->vio().ports().find(Vga::kVbePorts)->device;
    EXPECT_TRUE(window.posted_writes());
    EXPECT_FALSE(ports.posted_writes());
    const u64 generation = machine->vio().generation();
    machine->vio().write_port(0x1ce, 2, Dispi::kEnable);
    machine->vio().write_port(0x1cf, 2, Dispi::kOn);
    EXPECT_FALSE(window.posted_writes());
    EXPECT_GT(machine->vio().generation(), generation) << "engines are told";
}

}  // namespace
}  // namespace dualvm::devices
