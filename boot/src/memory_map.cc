#include "dualvm/boot/memory_map.h"

#include <algorithm>

namespace dualvm::boot {

std::vector<MemoryMapEntry> memory_map(const VMem& vmem) {
    std::vector<MemoryMapEntry> map;
    auto add = [&](const MemoryRegion& region, u64 from, u64 to, MemoryType type) {
        const u64 base = std::max(region.base, from), end = std::min(region.end(), to);
        if (base < end) map.push_back({.base = base, .size = end - base, .type = type});
    };
    for (const MemoryRegion& region : vmem.regions()) {
        if (region.device) continue;  // guests find it by the device
        const bool ram = region.kind == RegionKind::Ram;
        if (ram) {
            add(region, 0, kExtendedBiosData, MemoryType::Usable);
            add(region, kExtendedBiosData, kConventionalEnd, MemoryType::Reserved);
        }
        // Video memory and adapter ROMs at A0000h-EFFFFh are not mentioned, as on a PC: guests know them.
        add(region, kExtendedMemory, ~u64{0}, ram ? MemoryType::Usable : MemoryType::Reserved);
    }
    map.push_back({.base = kBiosRom, .size = kExtendedMemory - kBiosRom, .type = MemoryType::Reserved});
    std::sort(map.begin(), map.end(), [](const auto& a, const auto& b) { return a.base < b.base; });
    return map;
}

u64 extended_kibibytes(const std::vector<MemoryMapEntry>& map) {
    for (const MemoryMapEntry& entry : map) {
        if (entry.base == kExtendedMemory && entry.type == MemoryType::Usable) return entry.size / 1024;
    }
    return 0;
}

}  // namespace dualvm::boot
