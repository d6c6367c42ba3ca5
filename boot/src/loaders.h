// One function per boot protocol. Each works out a LoadPlan and an entry state; boot.cc makes them happen.
#pragma once

#include <string>
#include <vector>

#include "dualvm/boot/boot.h"
#include "load_plan.h"

namespace dualvm::boot {

// What a loader hands back besides the filled plan.
struct Entry {
    Protocol protocol = Protocol::Auto;
    u64 address = 0;  // physical, of the first instruction
    CpuFile cpu{};    // the boot CPU's complete state
};

// is_...: the file carries that format's mark. plan_...: everything else is checked, and errors say what is wrong.

bool is_multiboot(std::span<const u8> kernel);
// For a file that is none: what keeps a header in it from being one, in words; empty if nothing looks like one.
std::string multiboot_near_miss(std::span<const u8> kernel);
inline constexpr const char* kMultibootHeaderRule =
    "it must lie 4-byte aligned in the first 8192 bytes, with 1BADB002h, flags and checksum adding up to 0";
Expected<Entry> plan_multiboot(const BootImage& image, LoadPlan& plan);

bool is_linux(std::span<const u8> kernel);
// image.protocol: Linux32 or Linux64; anything else takes the 64-bit entry where the kernel has one.
Expected<Entry> plan_linux(const BootImage& image, LoadPlan& plan);

// Every ELF file that is_multiboot() did not want.
Expected<Entry> plan_pvh(const BootImage& image, LoadPlan& plan);

bool is_boot_sector(std::span<const u8> kernel);
Expected<Entry> plan_boot_sector(const BootImage& image, LoadPlan& plan);

// --- shared by several --------------------------------------------------------------------------------------------

// Where Multiboot's and PVH's structures go, as QEMU has them; below stay the BIOS data area and the initial stack.
inline constexpr AddressRange kForStructures = {0x9000, kFourGibibytes};

// Modules go page-aligned behind the kernel, where guests expect them that take all memory after the last one.
struct PlacedModule {
    u64 address = 0, size = 0;
    u64 text_address = 0;  // of its string
};
Expected<std::vector<PlacedModule>> put_modules(const BootImage& image, LoadPlan& plan);

// The interrupt vector table, the BIOS data area and the extended one.
void put_bios_data(LoadPlan& plan);
// ACPI tables, where guests look for them: in the BIOS's last 64 KiB below 1 MiB.
void put_acpi_tables(const Platform& platform, LoadPlan& plan);

}  // namespace dualvm::boot
