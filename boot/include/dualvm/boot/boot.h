// How a guest gets in: recognises what a file is, puts it into guest memory and sets the boot CPU to the state that
// its boot protocol promises: what a boot loader would have left behind is built here. Or a BIOS begins (firmware.h).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dualvm/machine.h"

namespace dualvm::boot {

enum class Protocol : u8 {
    Auto,       // whatever the file is
    Multiboot,  // Multiboot 1 (specification 0.6.96), 32-bit protected mode
    Linux32,    // Linux boot protocol, 32-bit entry
    Linux64,    // Linux boot protocol, 64-bit entry
    Pvh,        // Xen's PVH direct boot, 32-bit protected mode
    Sector,     // a raw boot sector, real mode
    Firmware,   // a BIOS, which boots what it finds; not for a kernel
};
const char* to_string(Protocol protocol);  // "auto", "multiboot", "linux32" ...
// The protocol of that name; an Error of status Usage that lists the names if there is none.
Expected<Protocol> protocol_from_name(std::string_view name);

// What `dualvm run` is told about the guest.
struct BootConfig {
    std::string kernel;               // path of the image; empty: firmware runs
    std::string firmware{};           // path of a BIOS image
    std::vector<std::string> initrd;  // modules, each "path arguments"; see split_initrd()
    std::string append;               // command line
    Protocol protocol = Protocol::Auto;
};

// The same with the files already in memory. The bytes must live until boot_image() returns.
struct BootModule {
    std::string text;  // "path arguments", handed to guests whose protocol gives modules a string
    std::span<const u8> bytes;
};
struct BootImage {
    std::string name;  // of the kernel: for messages, and the first word of a Multiboot command line
    std::span<const u8> kernel;
    std::vector<BootModule> modules;
    std::string append;
    Protocol protocol = Protocol::Auto;
};

// Something that was put into guest memory, or space that was kept free there.
struct Placement {
    u64 base = 0;
    u64 size = 0;
    std::string what;
};

struct BootReport {
    Protocol protocol = Protocol::Auto;  // the one that was used, never Auto
    u64 entry = 0;                       // guest-physical address of the first instruction
    std::vector<Placement> placed;       // sorted by base
};
// One line per placement and one for the entry, as `-d boot` shows it.
std::string to_text(const BootReport& report);

// Loads the guest into memory and sets CPU 0 to its entry state. Nothing is written unless everything is in order, so
// after an Error memory and CPU are as before. Loading again (after a reset) leads to the same state.
Expected<BootReport> boot_guest(Machine& machine, const BootConfig& config);
Expected<BootReport> boot_image(Machine& machine, const BootImage& image);

// QEMU's spelling of several modules in one option: separated by commas, a doubled comma stands for one.
std::vector<std::string> split_initrd(std::string_view option);

}  // namespace dualvm::boot
