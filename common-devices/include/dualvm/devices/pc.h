// The PC: every device made, wired and mapped on one Machine.
#pragma once

#include <array>
#include <ctime>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dualvm/devices/fw_cfg.h"
#include "dualvm/devices/i8042.h"
#include "dualvm/devices/pci.h"
#include "dualvm/devices/rtc_mc146818.h"
#include "dualvm/devices/uart16550.h"
#include "dualvm/devices/vga.h"
#include "dualvm/disk.h"
#include "dualvm/machine.h"

namespace dualvm::devices {

// A drive on an IDE cable. A hard disk has a disk; a CD-ROM drive may be empty.
struct IdeDriveConfig {
    Disk* disk = nullptr;
    bool cdrom = false;
};

struct FirmwareConfig {
    std::function<void(u8)> log{};  // what it writes to port 402h; there is no such port if empty
    bool boot_menu = false;
};

struct PcConfig {
    std::function<void(u8)> serial_output{};         // COM1; dropped if empty
    std::function<void(u8)> debug_console_output{};  // E9h and 402h; dropped if empty
    // Time of day at power-on. Default: the host's under a host clock, 2000-01-01 00:00:00 UTC under a virtual one, so
    // that a run is the same every time.
    std::optional<std::time_t> start_time{};
    // Primary master and slave, secondary master and slave: hda to hdd. Disks must outlive the machine.
    std::array<std::optional<IdeDriveConfig>, 4> ide_drives{};
    std::array<Disk*, 2> floppies{};  // in drives A: and B:; nullptr: no such drive
    // Firmware runs before the guest, and is told this. Without, devices start as firmware would have left them.
    std::optional<FirmwareConfig> firmware{};
    u64 video_memory = Vga::kUsualMemory;
    bool acpi = true;  // power management hardware, and a Platform that tells of it
};

class Pc {
public:
    // The devices belong to the machine; the Pc just knows them, and must not outlive it.
    static Expected<std::unique_ptr<Pc>> build(Machine& machine, const PcConfig& config);

    void serial_input(std::span<const u8> bytes) { com1_->receive(bytes); }
    // Bytes of serial_input() that the guest has not read yet.
    std::size_t serial_input_waiting() const { return com1_->waiting(); }
    // True if serial_input() can wake a guest that waits in HLT.
    bool serial_input_interrupts() const { return com1_->interrupts_on_input(); }
    const Vga& vga() const { return *vga_; }
    // The keyboard and the mouse are behind it.
    I8042& keyboard_controller() { return *keyboard_; }
    PciBus& pci() { return *pci_; }
    // What text looks like without firmware, which would have loaded it: see Vga::set_font().
    void set_font(std::span<const u8> font) { vga_->set_font(font); }
    // A file for firmware to ask for; of no use without it.
    void add_firmware_file(const std::string& name, std::vector<u8> bytes);
    // Tells firmware where to look for what to boot: of the letters a (floppies), c (hard disks), d (CD-ROMs) and n
    // (network), up to three.
    void set_boot_order(std::string_view letters);

private:
    Pc() = default;
    PciBus* pci_ = nullptr;
    Uart16550* com1_ = nullptr;
    Vga* vga_ = nullptr;
    I8042* keyboard_ = nullptr;
    RtcMc146818* rtc_ = nullptr;
    FwCfg* fw_cfg_ = nullptr;
};

}  // namespace dualvm::devices
