// Multiboot 1 (The Multiboot Specification, version 0.6.96). Section numbers are that document's.
#include <fmt/format.h>

#include <algorithm>

#include "elf_image.h"
#include "entry_state.h"
#include "little_endian.h"
#include "loaders.h"

namespace dualvm::boot {

namespace {

// 3.1: the header lies, 4-byte aligned, completely within the first 8192 bytes.
constexpr u64 kSearchedBytes = 8192;
constexpr u32 kHeaderMagic = 0x1badb002;
constexpr u32 kLoaderMagic = 0x2badb002;  // 3.2: in EAX at entry

// Flags of the header, 3.1.2. The lower 16 are demands: a loader that doesn't know one must refuse.
constexpr u32 kAlignModules = 1u << 0, kWantMemory = 1u << 1, kWantVideo = 1u << 2, kAddressFields = 1u << 16;
constexpr u32 kKnownDemands = kAlignModules | kWantMemory | kWantVideo, kDemands = 0xffff;

// The information structure, 3.3: flags, and the offsets of the fields that are filled.
constexpr u32 kHasMemory = 1u << 0, kHasCommandLine = 1u << 2, kHasModules = 1u << 3, kHasMap = 1u << 6,
              kHasLoaderName = 1u << 9, kHasFramebuffer = 1u << 12;
constexpr u64 kInfoSize = 116, kInfoFlags = 0, kInfoMemLower = 4, kInfoMemUpper = 8, kInfoCommandLine = 16,
              kInfoModuleCount = 20, kInfoModules = 24, kInfoMapLength = 44, kInfoMap = 48, kInfoLoaderName = 64,
              kInfoFramebuffer = 88, kInfoFramebufferPitch = 96, kInfoFramebufferWidth = 100,
              kInfoFramebufferHeight = 104, kInfoFramebufferBits = 108, kInfoFramebufferType = 109;
constexpr u8 kFramebufferText = 2;
constexpr u64 kModuleSize = 16, kMapEntrySize = 24;

struct Header {
    u64 offset = 0;  // in the file
    u32 flags = 0;
};

std::optional<Header> find_header(std::span<const u8> kernel) {
    const auto searched = kernel.first(std::min<u64>(kernel.size(), kSearchedBytes));
    for (u64 offset = 0; offset + 12 <= searched.size(); offset += 4) {
        const u32 magic = *load<u32>(searched, offset), flags = *load<u32>(searched, offset + 4);
        const u32 checksum = *load<u32>(searched, offset + 8);
        if (magic == kHeaderMagic && magic + flags + checksum == 0) return Header{offset, flags};
    }
    return std::nullopt;
}

// 3.1.3: the header itself says where the file goes ("a.out kludge").
Expected<u64> put_by_address_fields(const BootImage& image, LoadPlan& plan, const Header& header) {
    constexpr const char* kCheckHeader = "correct the address fields of its Multiboot header";
    if (header.offset + 32 > std::min<u64>(image.kernel.size(), kSearchedBytes)) {
        return bad_image(image.name, "the address fields of its Multiboot header are cut off",
                         "they must lie in the first 8192 bytes of the file");
    }
    auto field = [&](u64 offset) { return u64{*load<u32>(image.kernel, header.offset + offset)}; };
    const u64 header_address = field(12), load_address = field(16), load_end = field(20), bss_end = field(24);
    const u64 entry = field(28);
    if (load_address > header_address || header_address - load_address > header.offset) {
        return bad_image(image.name,
                         fmt::format("its Multiboot header at {:#x} in the file says it belongs to {:#x} and loading "
                                     "starts at {:#x}, which lies before the file's start",
                                     header.offset, header_address, load_address),
                         kCheckHeader);
    }
    const u64 file_offset = header.offset - (header_address - load_address);
    const u64 rest = image.kernel.size() - file_offset;
    if (load_end != 0 && load_end < load_address) {
        return bad_image(image.name, "its Multiboot load_end_addr is below its load_addr", kCheckHeader);
    }
    const u64 load_size = load_end == 0 ? rest : load_end - load_address;
    if (load_size > rest) {
        return bad_image(
            image.name,
            fmt::format("its Multiboot header asks for {} bytes of the file, {} are there", load_size, rest),
            "the file is cut off: build or copy it again");
    }
    if (bss_end != 0 && bss_end < load_address + load_size) {
        return bad_image(image.name, "its Multiboot bss_end_addr is below the end of what is loaded", kCheckHeader);
    }
    const u64 memory_size = bss_end == 0 ? load_size : bss_end - load_address;
    auto put = plan.put(load_address, image.kernel.subspan(file_offset, load_size), memory_size, "kernel");
    if (!put) return tl::unexpected(put.error());
    return entry;
}

Expected<u64> put_elf(const BootImage& image, LoadPlan& plan) {
    if (!is_elf(image.kernel)) {
        return bad_image(image.name,
                         "it has a Multiboot header but is neither ELF nor has address fields (flag bit 16)",
                         "link it as a 32-bit ELF executable, or fill in the header's address fields");
    }
    if (elf_machine_of(image.kernel) == elf_machine::kX86_64) {
        return bad_image(image.name,
                         "it has a Multiboot header but is a 64-bit ELF file, and Multiboot 1 starts in 32 bits",
                         "convert it with objcopy -O elf32-i386, as QEMU and GRUB need it too");
    }
    auto elf = parse_elf(image.name, image.kernel);
    if (!elf) return tl::unexpected(elf.error());
    if (auto put = put_segments(plan, *elf); !put) return tl::unexpected(put.error());
    return physical_entry(*elf);
}

// 3.3, "mods_addr".
std::vector<u8> module_table(const std::vector<PlacedModule>& modules) {
    std::vector<u8> table(modules.size() * kModuleSize);
    for (std::size_t i = 0; i < modules.size(); ++i) {
        store(table, i * kModuleSize + 0, static_cast<u32>(modules[i].address));
        store(table, i * kModuleSize + 4, static_cast<u32>(modules[i].address + modules[i].size));
        store(table, i * kModuleSize + 8, static_cast<u32>(modules[i].text_address));
    }
    return table;
}

std::vector<u8> map_bytes(const std::vector<MemoryMapEntry>& map) {
    std::vector<u8> bytes(map.size() * kMapEntrySize);
    for (std::size_t i = 0; i < map.size(); ++i) {
        const u64 at = i * kMapEntrySize;
        store(bytes, at, static_cast<u32>(kMapEntrySize - 4));  // the size field does not count itself
        store(bytes, at + 4, map[i].base);
        store(bytes, at + 12, map[i].size);
        store(bytes, at + 20, static_cast<u32>(map[i].type));
    }
    return bytes;
}

Expected<u64> put_info(const BootImage& image, LoadPlan& plan, const Header& header) {
    auto put = [&](std::vector<u8> bytes, const char* what) {
        return plan.put_anywhere(std::move(bytes), 8, kForStructures, Search::Upwards, what);
    };
    std::vector<u8> map = map_bytes(plan.map());
    const auto map_length = static_cast<u32>(map.size());
    const auto map_address = put(std::move(map), "memory map");
    if (!map_address) return map_address;
    const auto modules = put_modules(image, plan);
    if (!modules) return tl::unexpected(modules.error());
    const auto table = put(module_table(*modules), "module table");
    if (!table) return table;
    const auto command_line = put(zero_terminated(image.name + " " + image.append), "command line");
    if (!command_line) return command_line;
    const auto loader_name = put(zero_terminated("dualvm"), "boot loader name");
    if (!loader_name) return loader_name;

    std::vector<u8> info(kInfoSize);
    u32 flags = kHasMemory | kHasCommandLine | kHasModules | kHasMap | kHasLoaderName;
    store(info, kInfoMemLower, static_cast<u32>(kExtendedBiosData / 1024));
    store(info, kInfoMemUpper, static_cast<u32>(extended_kibibytes(plan.map())));
    store(info, kInfoCommandLine, static_cast<u32>(*command_line));
    store(info, kInfoModuleCount, static_cast<u32>(image.modules.size()));
    store(info, kInfoModules, static_cast<u32>(*table));
    store(info, kInfoMapLength, map_length);
    store(info, kInfoMap, static_cast<u32>(*map_address));
    store(info, kInfoLoaderName, static_cast<u32>(*loader_name));
    if (header.flags & kWantVideo) {  // whatever was wished for, there is VGA text mode
        flags |= kHasFramebuffer;
        store(info, kInfoFramebuffer, u64{0xb8000});
        store(info, kInfoFramebufferPitch, u32{160});
        store(info, kInfoFramebufferWidth, u32{80});
        store(info, kInfoFramebufferHeight, u32{25});
        store(info, kInfoFramebufferBits, u8{16});
        store(info, kInfoFramebufferType, kFramebufferText);
    }
    store(info, kInfoFlags, flags);
    return put(std::move(info), "Multiboot information");
}

}  // namespace

bool is_multiboot(std::span<const u8> kernel) { return find_header(kernel).has_value(); }

std::string multiboot_near_miss(std::span<const u8> kernel) {
    constexpr u64 kLookedAt = u64{16} << 20;
    const auto part = kernel.first(std::min(kernel.size(), kLookedAt));
    std::string found;
    for (u64 offset = 0; offset + 12 <= part.size(); ++offset) {
        if (part[offset] != (kHeaderMagic & 0xff) || load<u32>(part, offset) != kHeaderMagic) continue;
        const bool adds_up = kHeaderMagic + *load<u32>(part, offset + 4) + *load<u32>(part, offset + 8) == 0;
        if (!adds_up) {
            found = fmt::format("its Multiboot header at {:#x} in the file has a wrong checksum", offset);
        } else if (offset + 12 > kSearchedBytes) {
            return fmt::format("its Multiboot header is at {:#x} in the file, behind the first 8192 bytes", offset);
        } else {
            return fmt::format("its Multiboot header at {:#x} in the file is not 4-byte aligned", offset);
        }
    }
    return found;
}

Expected<Entry> plan_multiboot(const BootImage& image, LoadPlan& plan) {
    const auto header = find_header(image.kernel);
    if (!header) {
        return bad_image(image.name, "it has no valid Multiboot header in its first 8192 bytes",
                         "check its magic (1BADB002h), alignment and checksum, and where the linker puts it");
    }
    if (const u32 unknown = header->flags & kDemands & ~kKnownDemands; unknown != 0) {
        return bad_image(image.name,
                         fmt::format("its Multiboot header demands unknown features (flags {:#x})", unknown),
                         "Multiboot 1 defines bits 0 to 2 only: clear the others");
    }
    const auto entry =
        header->flags & kAddressFields ? put_by_address_fields(image, plan, *header) : put_elf(image, plan);
    if (!entry) return tl::unexpected(entry.error());
    if (!plan.covers(*entry)) {
        return bad_image(image.name, fmt::format("its entry point {:#x} is outside of what is loaded", *entry),
                         "check the linker script's ENTRY and addresses");
    }
    const auto info = put_info(image, plan, *header);
    if (!info) return tl::unexpected(info.error());
    // 3.2 lets GDTR be invalid. QEMU leaves a table with flat segments at 08h and 10h, and so do we: a guest that
    // reloads a selector before it has a table of its own goes on.
    const FlatGdt gdt = flat_gdt(0x08, CodeSize::Bits32);
    const auto gdt_address =
        plan.put_anywhere(gdt.bytes, 8, kForStructures, Search::Upwards, "global descriptor table");
    if (!gdt_address) return tl::unexpected(gdt_address.error());
    put_bios_data(plan);

    Entry state{.protocol = Protocol::Multiboot, .address = *entry, .cpu = {}};
    enter_protected_mode(state.cpu, gdt, *gdt_address, *entry);
    state.cpu.general.gpr[RAX] = kLoaderMagic;
    state.cpu.general.gpr[RBX] = *info;
    return state;
}

}  // namespace dualvm::boot
