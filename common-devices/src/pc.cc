#include "dualvm/devices/pc.h"

#include <algorithm>
#include <array>

#include "dualvm/devices/acpi_pm.h"
#include "dualvm/devices/ata_disk.h"
#include "dualvm/devices/atapi_cdrom.h"
#include "dualvm/devices/coprocessor_error.h"
#include "dualvm/devices/debug_ports.h"
#include "dualvm/devices/dma8237.h"
#include "dualvm/devices/floppy82077.h"
#include "dualvm/devices/i440fx.h"
#include "dualvm/devices/i8042.h"
#include "dualvm/devices/io_apic.h"
#include "dualvm/devices/local_apic.h"
#include "dualvm/devices/pci_config.h"
#include "dualvm/devices/pci_setup.h"
#include "dualvm/devices/pic8259.h"
#include "dualvm/devices/piix3_ide.h"
#include "dualvm/devices/piix3_isa.h"
#include "dualvm/devices/pit8254.h"
#include "dualvm/devices/system_control.h"

namespace dualvm::devices {

namespace {

constexpr std::time_t kFixedStart = 946684800;  // 2000-01-01 00:00:00 UTC

// The PC's interrupt wiring.
enum : unsigned {
    kIrqTimer = 0,
    kIrqKeyboard = 1,
    kIrqCom1 = 4,
    kIrqFloppy = 6,
    kIrqRtc = 8,
    kIrqAcpi = 9,
    kIrqMouse = 12,
    kIrqCoprocessor = 13
};

constexpr unsigned kTimerInput = 2;  // of the I/O APIC, where the 8259As are joined otherwise

constexpr u16 kFwCfgPort = 0x510, kFirmwareLogPort = 0x402;
constexpr u16 kResetControlPort = 0xcf9;
constexpr u8 kResetWhole = 6;
constexpr u16 kAcpiBase = 0x600;  // where SeaBIOS puts it, too

// Places on PCI bus 0, as on QEMU's "pc".
enum : unsigned { kHostBridgeSlot = 0, kPiix3Slot = 1, kVgaSlot = 2 };
// Where PCI's interrupts may lead, and its memory may lie.
constexpr u16 kPciInterrupts = 1u << 5 | 1u << 10 | 1u << 11;
constexpr u32 kPciMemory = VMem::kHoleBase;

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

// What ACPI tables say of this PC.
Platform describe(bool floppy) {
    Platform p;
    p.pm1_event = kAcpiBase + AcpiPm::kEvent;
    p.pm1_control = kAcpiBase + AcpiPm::kControl;
    p.pm_timer = kAcpiBase + AcpiPm::kTimer;
    p.gpe0 = kAcpiBase + AcpiPm::kGpe;
    p.gpe0_size = AcpiPm::kGpeSize;
    p.sci = kIrqAcpi;
    p.soft_off = AcpiPm::kSoftOff;
    p.reset_port = kResetControlPort;
    p.reset_value = kResetWhole;
    p.local_apic = LocalApic::kUsualBase;
    p.io_apic = IoApic::kUsualBase;
    p.timer_input = kTimerInput;
    p.level_inputs = 1u << kIrqAcpi | kPciInterrupts;
    p.keyboard = p.mouse = true;
    p.com1 = true;
    p.floppy = floppy;
    p.pci = true;
    p.pci_router_slot = kPiix3Slot;
    p.pci_router_register = Piix3Isa::kPirqRoute;
    p.pci_interrupts = kPciInterrupts;
    p.pci_memory = kPciMemory;
    p.pci_memory_size = static_cast<u32>(IoApic::kUsualBase - kPciMemory);
    return p;
}

// What firmware looks for: fw_cfg, and its own debug console, for which other guests have the usual one.
Expected<void> add_firmware_devices(Machine& machine, const PcConfig& config, DebugConsole& console, FwCfg& fw_cfg) {
    IoSpace& ports = machine.vio().ports();
    if (!config.firmware) return ports.add(kFirmwareLogPort, 1, console);
    const FirmwareConfig& firmware = *config.firmware;
    fw_cfg.add_number(FwCfg::BootMenu, static_cast<u16>(firmware.boot_menu));
    if (auto added = ports.add(kFwCfgPort, FwCfg::kSize, fw_cfg); !added) return added;
    if (!firmware.log) return {};
    return ports.add(kFirmwareLogPort, 1, machine.own(std::make_unique<DebugConsole>(firmware.log)));
}

std::array<u8, 2> floppy_kinds(const PcConfig& config) {
    std::array<u8, 2> kinds{};
    for (std::size_t i = 0; i < kinds.size(); ++i) {
        if (const Disk* disk = config.floppies[i]) kinds[i] = floppy_geometry(disk->size_in_sectors()).cmos_type;
    }
    return kinds;
}

}  // namespace

void Pc::add_firmware_file(const std::string& name, std::vector<u8> bytes) {
    fw_cfg_->add_file(name, std::move(bytes));
}

void Pc::set_boot_order(std::string_view letters) {
    std::array<u8, 3> kinds{};
    for (std::size_t i = 0; i < std::min(letters.size(), kinds.size()); ++i) {
        // CMOS's numbers are 1 to 4 in this order.
        const std::size_t kind = std::string_view("acdn").find(letters[i]);
        if (kind != std::string_view::npos) kinds[i] = static_cast<u8>(kind + 1);
    }
    rtc_->set_boot_order(kinds);
}

Expected<std::unique_ptr<Pc>> Pc::build(Machine& machine, const PcConfig& config) {
    auto pc = std::unique_ptr<Pc>(new Pc);
    const bool host_time = machine.virtual_clock() == nullptr;
    const std::time_t start = config.start_time.value_or(host_time ? std::time(nullptr) : kFixedStart);
    Clock& clock = machine.clock();

    auto& pic = machine.own(std::make_unique<Pic8259Pair>());
    auto& local_apic = machine.own(std::make_unique<LocalApic>(
        machine, pic, config.firmware ? LocalApic::AfterReset::Architectural : LocalApic::AfterReset::VirtualWire));
    auto& io_apic = machine.own(
        std::make_unique<IoApic>([&local_apic](const ApicMessage& message) { return local_apic.deliver(message); }));
    local_apic.on_end_of_interrupt([&io_apic](u8 vector) { io_apic.end_of_interrupt(vector); });
    pic.connect_output([lint0 = local_apic.lint(0)](bool level) mutable { lint0.set(level); });
    // Each of ISA's interrupt wires leads to both controllers; the guest opens one of the ways.
    const auto isa_interrupt = [&](unsigned irq) {
        const unsigned input = irq == kIrqTimer ? kTimerInput : irq;
        return IrqLine([to_pic = pic.line(irq), to_apic = io_apic.input(input)](bool level) mutable {
            to_pic.set(level);
            to_apic.set(level);
        });
    };
    auto& pit = machine.own(std::make_unique<Pit8254>(clock, isa_interrupt(kIrqTimer)));
    auto& rtc =
        machine.own(std::make_unique<RtcMc146818>(clock, isa_interrupt(kIrqRtc), start, machine.vmem().ram_size()));
    auto& com1 = machine.own(std::make_unique<Uart16550>(clock, isa_interrupt(kIrqCom1), config.serial_output));
    auto adapter =
        Vga::create(machine, config.firmware ? Vga::AfterReset::Nothing : Vga::AfterReset::Text, config.video_memory);
    if (!adapter) return tl::unexpected(adapter.error());
    auto& vga = machine.own(std::move(*adapter));
    auto& keyboard = machine.own(
        std::make_unique<I8042>(machine, isa_interrupt(kIrqKeyboard), isa_interrupt(kIrqMouse),
                                config.firmware ? I8042::AfterReset::PowerOn : I8042::AfterReset::BiosDone));
    auto& port92 = machine.own(std::make_unique<SystemControlPort>(machine));
    auto& coprocessor = machine.own(std::make_unique<CoprocessorError>(machine, isa_interrupt(kIrqCoprocessor)));

    auto& dma = machine.own(std::make_unique<Dma8237Pair>(BusMemory(machine)));
    auto& floppy = machine.own(std::make_unique<Floppy82077>(dma, isa_interrupt(kIrqFloppy), config.floppies));
    rtc.set_floppy_drives(floppy_kinds(config));

    auto owned_bus = std::make_unique<PciBus>(machine.vio());
    PciBus& bus = *owned_bus;
    pc->pci_ = &bus;
    auto& host_bridge = machine.own(
        std::make_unique<I440Fx>(machine.vmem(), config.firmware ? I440Fx::AfterReset::Rom : I440Fx::AfterReset::Ram));
    Piix3Isa::IsaInterrupts isa_interrupts;
    for (unsigned irq = 0; irq < isa_interrupts.size(); ++irq) isa_interrupts[irq] = isa_interrupt(irq);
    auto& isa_bridge = machine.own(std::make_unique<Piix3Isa>(bus, std::move(isa_interrupts)));
    auto& ide = machine.own(std::make_unique<Piix3Ide>(
        BusMemory(machine),
        std::array{isa_interrupt(Piix3Ide::kInterrupts[0]), isa_interrupt(Piix3Ide::kInterrupts[1])},
        !config.firmware));
    attach_drives(ide, config);
    bus.attach(kHostBridgeSlot, 0, host_bridge);
    bus.attach(kPiix3Slot, 0, isa_bridge);
    bus.attach(kPiix3Slot, 1, ide);
    bus.attach(kVgaSlot, 0, vga);
    std::function<void()> set_up;
    if (!config.firmware) set_up = [&bus, &isa_bridge, &pic] { set_up_pci(bus, isa_bridge, pic); };
    // Reset after all that is on the bus: it finds them as they are after a reset.
    auto& pci = machine.own(std::make_unique<PciConfigurationPorts>(machine, std::move(owned_bus), set_up));
    auto& exit = machine.own(std::make_unique<DebugExit>(machine));
    auto& console = machine.own(std::make_unique<DebugConsole>(config.debug_console_output));
    auto& fw_cfg = machine.own(std::make_unique<FwCfg>(machine));
    auto& post = machine.own(std::make_unique<PostCode>());
    machine.set_interrupt_source(&local_apic);
    pc->com1_ = &com1;
    pc->vga_ = &vga;
    pc->keyboard_ = &keyboard;
    pc->rtc_ = &rtc;
    pc->fw_cfg_ = &fw_cfg;

    constexpr auto kIdeCommand = Piix3Ide::kCommandPorts, kIdeControl = Piix3Ide::kControlPorts;
    const PortRange ports[] = {
        {0x20, 2, &pic, Pic8259Pair::kMaster},
        {0xa0, 2, &pic, Pic8259Pair::kSlave},
        {0x4d0, 2, &pic, Pic8259Pair::kEdgeLevel},
        {0x40, 4, &pit, 0},
        {0x61, 1, &pit, Pit8254::kPort61},
        {0x60, 1, &keyboard, I8042::kData},
        {0x64, 1, &keyboard, I8042::kCommand},
        {0x70, 2, &rtc, 0},
        {0x80, 1, &post, 0},
        {0x92, 1, &port92, 0},
        {0xe9, 1, &console, 0},
        {CoprocessorError::kPort, 1, &coprocessor, 0},
        {0xf4, 4, &exit, 0},
        {Vga::kPorts, Vga::kPortsSize, &vga, Vga::kPortsOffset},
        {Vga::kVbePorts, Vga::kVbePortsSize, &vga.not_posted(), Vga::kVbeOffset},
        {0x3f8, 8, &com1, 0},
        {kIdeCommand[0], 8, &ide, Piix3Ide::kCommandBlock},
        {kIdeControl[0], 1, &ide, Piix3Ide::kControl},
        {kIdeCommand[1], 8, &ide, Piix3Ide::kChannelStride + Piix3Ide::kCommandBlock},
        {kIdeControl[1], 1, &ide, Piix3Ide::kChannelStride + Piix3Ide::kControl},
        {0x00, 0x10, &dma, Dma8237Pair::kBytes},
        {0xc0, 0x20, &dma, Dma8237Pair::kWords},
        {0x81, 0xf, &dma, Dma8237Pair::kPages + 1},
        {0x3f0, 6, &floppy, 0},
        {0x3f7, 1, &floppy, Floppy82077::kDigitalInput},
        {0xcf8, 8, &pci, 0},
    };
    for (const PortRange& p : ports) {
        if (auto added = machine.vio().ports().add(p.base, p.size, *p.device, p.device_offset); !added) {
            return tl::unexpected(added.error());
        }
    }
    if (auto hole = machine.vmem().punch_hole(Vga::kWindow, Vga::kWindowSize); !hole) {
        return tl::unexpected(hole.error());
    }
    if (auto added = machine.vio().mmio().add(Vga::kWindow, Vga::kWindowSize, vga); !added) {
        return tl::unexpected(added.error());
    }
    if (auto added = machine.vio().mmio().add(I440Fx::kBase, I440Fx::kSize, host_bridge); !added) {
        return tl::unexpected(added.error());
    }
    if (set_up) set_up();
    if (auto added = machine.vio().mmio().add(IoApic::kUsualBase, IoApic::kSize, io_apic); !added) {
        return tl::unexpected(added.error());
    }
    if (auto added = add_firmware_devices(machine, config, console, fw_cfg); !added)
        return tl::unexpected(added.error());
    if (config.acpi) {
        auto& pm = machine.own(std::make_unique<AcpiPm>(machine, isa_interrupt(kIrqAcpi)));
        if (auto added = machine.vio().ports().add(kAcpiBase, AcpiPm::kSize, pm); !added) {
            return tl::unexpected(added.error());
        }
        machine.set_platform(describe(floppy_kinds(config) != std::array<u8, 2>{}));
    }
    return pc;
}

}  // namespace dualvm::devices
