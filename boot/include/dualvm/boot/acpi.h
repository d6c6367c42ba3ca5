// The ACPI tables that describe a Platform (ACPI specification 6.3, chapter 5), made once for two ways to the guest:
// put into memory here when a kernel is booted without firmware, or handed to firmware with a list of what to patch.
#pragma once

#include <vector>

#include "dualvm/platform.h"

namespace dualvm::boot {

// Tables that do not know yet where they will lie.
struct AcpiTables {
    std::vector<u8> tables;  // FACS, DSDT, FADT, MADT, RSDT, XSDT, one behind the other
    std::vector<u8> rsdp;    // the root pointer, which guests look for on its own

    // A field of `size` bytes that holds an offset into `tables` and wants an address.
    struct Pointer {
        bool in_rsdp = false;
        u32 offset = 0;
        u32 size = 0;
    };
    std::vector<Pointer> pointers;
    // A byte that makes all bytes of a range add up to 0.
    struct Checksum {
        bool in_rsdp = false;
        u32 offset = 0;
        u32 start = 0, length = 0;
    };
    std::vector<Checksum> checksums;
};

inline constexpr u32 kAcpiTablesAlignment = 64;  // the FACS's; it comes first

AcpiTables make_acpi_tables(const Platform& platform);

// Fills in pointers and checksums for tables that will lie at `tables_address`.
void relocate(AcpiTables& tables, u64 tables_address);

// The script by which firmware does the same with tables that it is handed as files of these names (acpi_loader.cc).
inline constexpr const char* kAcpiTablesFile = "etc/acpi/tables";
inline constexpr const char* kAcpiRsdpFile = "etc/acpi/rsdp";
inline constexpr const char* kAcpiLoaderFile = "etc/table-loader";
std::vector<u8> loader_script(const AcpiTables& tables);

}  // namespace dualvm::boot
