#include "dualvm/devices/pc.h"

#include "dualvm/devices/ata_disk.h"
#include "dualvm/devices/atapi_cdrom.h"
#include "dualvm/devices/debug_ports.h"
#include "dualvm/devices/i440fx.h"
#include "dualvm/devices/i8042.h"
#include "dualvm/devices/pci_config.h"
#include "dualvm/devices/pci_setup.h"
#include "dualvm/devices/pic8259.h"
#include "dualvm/devices/piix3_ide.h"
#include "dualvm/devices/piix3_isa.h"
#include "dualvm/devices/pit8254.h"
#include "dualvm/devices/rtc_mc146818.h"
#include "dualvm/devices/system_control.h"

namespace dualvm::devices {

namespace {

constexpr std::time_t kFixedStart = 946684800;  // 2000-01-01 00:00:00 UTC

// The PC's interrupt wiring.
enum : unsigned { kIrqTimer = 0, kIrqCom1 = 4, kIrqRtc = 8 };

// Places on PCI bus 0, as on QEMU's "pc".
enum : unsigned { kHostBridgeSlot = 0, kPiix3Slot = 1 };

struct PortRange {
    u64 base, size;
    Device* device;
    u64 device_offset;
};

void attach_drives(Piix3Ide& ide, const PcConfig& config) {
    for (unsigned i = 0; i < config.ide_drives.size(); ++i) {
        const auto& drive = config.ide_drives[i];
        if (!drive) continue;
        if (drive->cdrom) {
            ide.attach(i / 2, i % 2, std::make_unique<AtapiCdrom>(drive->disk, i));
        } else {
            ide.attach(i / 2, i % 2, std::make_unique<AtaDisk>(*drive->disk, i));
        }
    }
}

}  // namespace

Expected<std::unique_ptr<Pc>> Pc::build(Machine& machine, const PcConfig& config) {
    auto pc = std::unique_ptr<Pc>(new Pc);
    const bool host_time = machine.virtual_clock() == nullptr;
    const std::time_t start = config.start_time.value_or(host_time ? std::time(nullptr) : kFixedStart);
    Clock& clock = machine.clock();

    auto& pic = machine.own(std::make_unique<Pic8259Pair>());
    auto& pit = machine.own(std::make_unique<Pit8254>(clock, pic.line(kIrqTimer)));
    auto& rtc = machine.own(std::make_unique<RtcMc146818>(clock, pic.line(kIrqRtc), start, machine.vmem().ram_size()));
    auto& com1 = machine.own(std::make_unique<Uart16550>(clock, pic.line(kIrqCom1), config.serial_output));
    auto& vga = machine.own(std::make_unique<VgaText>(clock));
    auto& keyboard = machine.own(std::make_unique<I8042>(machine));
    auto& port92 = machine.own(std::make_unique<SystemControlPort>(machine));

    auto owned_bus = std::make_unique<PciBus>(machine.vio());
    PciBus& bus = *owned_bus;
    pc->pci_ = &bus;
    auto& host_bridge = machine.own(std::make_unique<I440Fx>(machine.vmem(), I440Fx::AfterReset::Ram));
    Piix3Isa::IsaInterrupts isa_interrupts;
    for (unsigned irq = 0; irq < isa_interrupts.size(); ++irq) isa_interrupts[irq] = pic.line(irq);
    auto& isa_bridge = machine.own(std::make_unique<Piix3Isa>(bus, std::move(isa_interrupts)));
    auto& ide = machine.own(std::make_unique<Piix3Ide>(
        machine.vmem(), std::array{pic.line(Piix3Ide::kInterrupts[0]), pic.line(Piix3Ide::kInterrupts[1])}, true));
    attach_drives(ide, config);
    bus.attach(kHostBridgeSlot, 0, host_bridge);
    bus.attach(kPiix3Slot, 0, isa_bridge);
    bus.attach(kPiix3Slot, 1, ide);
    // The last device to be reset: it finds all others as they are after a reset.
    auto& pci = machine.own(std::make_unique<PciConfigurationPorts>(
        machine, std::move(owned_bus), [&bus, &isa_bridge, &pic] { set_up_pci(bus, isa_bridge, pic); }));
    auto& exit = machine.own(std::make_unique<DebugExit>(machine));
    auto& console = machine.own(std::make_unique<DebugConsole>(config.debug_console_output));
    auto& post = machine.own(std::make_unique<PostCode>());
    machine.set_interrupt_source(&pic);
    pc->com1_ = &com1;
    pc->vga_ = &vga;

    constexpr auto kIdeCommand = Piix3Ide::kCommandPorts, kIdeControl = Piix3Ide::kControlPorts;
    const PortRange ports[] = {
        {0x20, 2, &pic, Pic8259Pair::kMaster},
        {0xa0, 2, &pic, Pic8259Pair::kSlave},
        {0x4d0, 2, &pic, Pic8259Pair::kEdgeLevel},
        {0x40, 4, &pit, 0},
        {0x61, 1, &pit, Pit8254::kPort61},
        {0x60, 1, &keyboard, 0},
        {0x64, 1, &keyboard, 1},
        {0x70, 2, &rtc, 0},
        {0x80, 1, &post, 0},
        {0x92, 1, &port92, 0},
        {0xe9, 1, &console, 0},
        {0xf4, 4, &exit, 0},
        {VgaText::kPorts, VgaText::kPortsSize, &vga, VgaText::kPortsOffset},
        {0x3f8, 8, &com1, 0},
        {0x402, 1, &console, 0},
        {kIdeCommand[0], 8, &ide, Piix3Ide::kCommandBlock},
        {kIdeControl[0], 1, &ide, Piix3Ide::kControl},
        {kIdeCommand[1], 8, &ide, Piix3Ide::kChannelStride + Piix3Ide::kCommandBlock},
        {kIdeControl[1], 1, &ide, Piix3Ide::kChannelStride + Piix3Ide::kControl},
        {0xcf8, 8, &pci, 0},
    };
    for (const PortRange& p : ports) {
        if (auto added = machine.vio().ports().add(p.base, p.size, *p.device, p.device_offset); !added) {
            return tl::unexpected(added.error());
        }
    }
    if (auto hole = machine.vmem().punch_hole(VgaText::kWindow, VgaText::kWindowSize); !hole) {
        return tl::unexpected(hole.error());
    }
    if (auto added = machine.vio().mmio().add(VgaText::kWindow, VgaText::kWindowSize, vga); !added) {
        return tl::unexpected(added.error());
    }
    if (auto added = machine.vio().mmio().add(I440Fx::kBase, I440Fx::kSize, host_bridge); !added) {
        return tl::unexpected(added.error());
    }
    set_up_pci(bus, isa_bridge, pic);
    return pc;
}

}  // namespace dualvm::devices
