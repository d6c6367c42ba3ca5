// The memory map that a PC's firmware gives its guests (INT 15h, AX=E820h), made from vMEM's regions.
#pragma once

#include <vector>

#include "dualvm/vmem.h"

namespace dualvm::boot {

// A PC's first megabyte.
inline constexpr u64 kBiosDataArea = 0x400, kBiosDataAreaEnd = 0x500;
inline constexpr u64 kBootSectorAddress = 0x7c00;
inline constexpr u64 kExtendedBiosData = 0x9fc00;  // the last KiB of conventional memory is the BIOS's own
inline constexpr u64 kConventionalEnd = 0xa0000;   // video memory and adapter ROMs from here
inline constexpr u64 kBiosRom = 0xf0000;
inline constexpr u64 kExtendedMemory = 0x100000;
inline constexpr u64 kFourGibibytes = u64{1} << 32;

enum class MemoryType : u32 { Usable = 1, Reserved = 2 };  // E820's numbers; Multiboot's and PVH's are the same

struct MemoryMapEntry {
    u64 base = 0;
    u64 size = 0;
    MemoryType type = MemoryType::Usable;
    u64 end() const { return base + size; }
    bool operator==(const MemoryMapEntry&) const = default;
};

// Sorted by base, not overlapping. Addresses that are not in it hold no memory.
std::vector<MemoryMapEntry> memory_map(const VMem& vmem);

// KiB of usable memory from 1 MiB up to the first gap: Multiboot's mem_upper, Linux's alt_mem_k.
u64 extended_kibibytes(const std::vector<MemoryMapEntry>& map);

}  // namespace dualvm::boot
