// PVH direct boot: an ELF file names its 32-bit entry point in a note and is handed Xen's "start info" structure
// (Xen: docs/misc/pvh.pandoc "x86/HVM direct boot ABI", public/arch-x86/hvm/start_info.h). Linux's vmlinux can be
// started so, and QEMU's -kernel does it.
#include <fmt/format.h>

#include "elf_image.h"
#include "entry_state.h"
#include "little_endian.h"
#include "loaders.h"

namespace dualvm::boot {

namespace {

constexpr const char* kNoteOwner = "Xen";
constexpr u32 kPhysicalEntryNote = 18;  // XEN_ELFNOTE_PHYS32_ENTRY

constexpr u32 kStartInfoMagic = 0x336ec578, kStartInfoVersion = 1;
// hvm_start_info and the tables it points to: sizes, and offsets of the fields that are filled.
constexpr u64 kStartInfoSize = 56, kInfoModuleCount = 12, kInfoModules = 16, kInfoCommandLine = 24, kInfoRsdp = 32,
              kInfoMap = 40, kInfoMapEntries = 48;
constexpr u64 kModuleSize = 32, kMapEntrySize = 24;

Expected<u64> entry_from_note(const BootImage& image, const ElfImage& elf) {
    const auto note = find_note(elf, kNoteOwner, kPhysicalEntryNote);
    if (!note) {
        const std::string miss = multiboot_near_miss(image.kernel);
        if (!miss.empty()) return bad_image(image.name, miss, kMultibootHeaderRule);
        return bad_image(image.name, "it is an ELF file without a Multiboot header and without a PVH entry note",
                         "add a Multiboot 1 header to its first 8192 bytes or a XEN_ELFNOTE_PHYS32_ENTRY note");
    }
    // Four bytes, or eight in a 64-bit file; the entry is below 4 GiB either way.
    const auto wide = load<u64>(*note, 0);
    const auto narrow = load<u32>(*note, 0);
    if (!narrow || (note->size() >= 8 && *wide >= kFourGibibytes)) {
        return bad_image(image.name, "its PVH entry note does not hold a 32-bit address", "correct the note");
    }
    return *narrow;
}

std::vector<u8> module_table(const std::vector<PlacedModule>& modules) {
    std::vector<u8> table(modules.size() * kModuleSize);
    for (std::size_t i = 0; i < modules.size(); ++i) {
        store(table, i * kModuleSize + 0, modules[i].address);
        store(table, i * kModuleSize + 8, modules[i].size);
        store(table, i * kModuleSize + 16, modules[i].text_address);
    }
    return table;
}

std::vector<u8> map_bytes(const std::vector<MemoryMapEntry>& map) {
    std::vector<u8> bytes(map.size() * kMapEntrySize);
    for (std::size_t i = 0; i < map.size(); ++i) {
        store(bytes, i * kMapEntrySize + 0, map[i].base);
        store(bytes, i * kMapEntrySize + 8, map[i].size);
        store(bytes, i * kMapEntrySize + 16, static_cast<u32>(map[i].type));
    }
    return bytes;
}

Expected<u64> put_start_info(const BootImage& image, LoadPlan& plan) {
    auto put = [&](std::vector<u8> bytes, const char* what) {
        return plan.put_anywhere(std::move(bytes), 8, kForStructures, Search::Upwards, what);
    };
    const auto map = put(map_bytes(plan.map()), "memory map");
    if (!map) return map;
    const auto command_line = put(zero_terminated(image.append), "command line");
    if (!command_line) return command_line;
    const auto modules = put_modules(image, plan);
    if (!modules) return tl::unexpected(modules.error());
    const auto table = put(module_table(*modules), "module table");
    if (!table) return table;

    std::vector<u8> info(kStartInfoSize);
    store(info, 0, kStartInfoMagic);
    store(info, 4, kStartInfoVersion);
    store(info, kInfoModuleCount, static_cast<u32>(modules->size()));
    store(info, kInfoModules, modules->empty() ? u64{0} : *table);
    store(info, kInfoCommandLine, *command_line);
    store(info, kInfoRsdp, plan.acpi_root());
    store(info, kInfoMap, *map);
    store(info, kInfoMapEntries, static_cast<u32>(plan.map().size()));
    return put(std::move(info), "PVH start info");
}

}  // namespace

Expected<Entry> plan_pvh(const BootImage& image, LoadPlan& plan) {
    const auto elf = parse_elf(image.name, image.kernel);
    if (!elf) return tl::unexpected(elf.error());
    const auto entry = entry_from_note(image, *elf);
    if (!entry) return tl::unexpected(entry.error());
    if (auto put = put_segments(plan, *elf); !put) return tl::unexpected(put.error());
    if (!plan.covers(*entry)) {
        return bad_image(image.name, fmt::format("its PVH entry point {:#x} is outside of what is loaded", *entry),
                         "the note must hold a physical address");
    }
    const auto info = put_start_info(image, plan);
    if (!info) return tl::unexpected(info.error());
    const FlatGdt gdt = flat_gdt(0x08, CodeSize::Bits32);
    const auto gdt_address =
        plan.put_anywhere(gdt.bytes, 8, kForStructures, Search::Upwards, "global descriptor table");
    if (!gdt_address) return tl::unexpected(gdt_address.error());
    put_bios_data(plan);

    Entry state{.protocol = Protocol::Pvh, .address = *entry};
    enter_protected_mode(state.cpu, gdt, *gdt_address, *entry);
    state.cpu.segments.tr.limit = 0x67;  // the ABI names the limit: a 32-bit TSS and nothing more
    state.cpu.general.gpr[RBX] = *info;
    return state;
}

}  // namespace dualvm::boot
