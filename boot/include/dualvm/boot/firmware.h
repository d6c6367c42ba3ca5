// A BIOS as the guest's beginning, and what it is told about the machine.
#pragma once

#include <string>
#include <vector>

#include "dualvm/boot/boot.h"

namespace dualvm::boot {

// The BIOS that Debian's package seabios brings.
inline constexpr const char* kDefaultFirmware = "/usr/share/seabios/bios-256k.bin";

// Puts the BIOS in the file `path` where the CPU begins, and resets CPU 0. Nothing is changed if there is an Error.
Expected<BootReport> boot_firmware(Machine& machine, const std::string& path);

// What SeaBIOS asks for by name: memory map, ACPI tables with the script that places them, the VGA BIOS; and the serial
// port, if what it prints is to go there, too.
struct FirmwareFile {
    std::string name;
    std::vector<u8> bytes;
};
std::vector<FirmwareFile> firmware_files(const Machine& machine, bool serial_console);

// The characters of VGA's text modes, 8 x 16 dots each, as the host's VGA BIOS has them: what it would load for a guest
// that comes without firmware. Empty if the host has no VGA BIOS.
std::vector<u8> vga_font();

}  // namespace dualvm::boot
