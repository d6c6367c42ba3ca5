// What a PC's firmware leaves in low memory for whoever looks: the interrupt vector table, the BIOS data area at 400h
// and the extended one at 9FC00h (IBM PC/AT Technical Reference, "BIOS Data Area"; Ralf Brown's memory lists).
#include "dualvm/boot/acpi.h"
#include "little_endian.h"
#include "loaders.h"

namespace dualvm::boot {

void put_bios_data(LoadPlan& plan) {
    // No BIOS is there, so no vector leads anywhere: the IVT is zero.
    plan.put_firmware_data(0, std::vector<u8>(kBiosDataArea), "interrupt vector table");

    std::vector<u8> area(kBiosDataAreaEnd - kBiosDataArea);
    auto set = [&](u64 address, auto value) { store(area, address - kBiosDataArea, value); };
    set(0x400, u16{0x3f8});                                  // COM1
    set(0x40e, static_cast<u16>(kExtendedBiosData >> 4));    // segment of the extended area
    set(0x410, u16{1u << 1 | 1u << 2 | 2u << 4 | 1u << 9});  // equipment: FPU, mouse, 80x25 colour, a serial port
    set(0x413, static_cast<u16>(kExtendedBiosData / 1024));  // KiB of conventional memory
    set(0x41a, u16{0x1e});                                   // keyboard buffer: head,
    set(0x41c, u16{0x1e});                                   // tail,
    set(0x480, u16{0x1e});                                   // beginning
    set(0x482, u16{0x3e});                                   // and end
    set(0x496, u8{0x10});                                    // a keyboard with 101 keys
    set(0x449, u8{3});                                       // video mode 3: 80x25 text
    set(0x44a, u16{80});                                     // columns
    set(0x44c, u16{0x1000});                                 // bytes of a video page
    set(0x460, u16{0x0607});                                 // cursor: scan lines 6 to 7
    set(0x463, u16{0x3d4});                                  // CRT controller's port
    set(0x484, u8{24});                                      // rows - 1
    set(0x485, u16{16});                                     // scan lines of a character
    plan.put_firmware_data(kBiosDataArea, std::move(area), "BIOS data area");

    // Its first byte says how many KiB it has.
    std::vector<u8> extended(kConventionalEnd - kExtendedBiosData);
    extended[0] = 1;
    plan.put_firmware_data(kExtendedBiosData, std::move(extended), "extended BIOS data area");
}

// The root pointer comes first: guests look at each 16 bytes from E0000h on (ACPI specification 6.3, 5.2.5.1).
void put_acpi_tables(const Platform& platform, LoadPlan& plan) {
    AcpiTables acpi = make_acpi_tables(platform);
    const u64 tables = kBiosRom + kAcpiTablesAlignment;
    relocate(acpi, tables);
    plan.put_firmware_data(kBiosRom, std::move(acpi.rsdp), "ACPI root pointer");
    plan.put_firmware_data(tables, std::move(acpi.tables), "ACPI tables");
}

}  // namespace dualvm::boot
