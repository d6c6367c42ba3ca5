// Linux bzImage by the 32-bit or the 64-bit boot protocol (Documentation/arch/x86/boot.rst; zero-page.rst for struct
// boot_params). The real-mode setup code is not run: what it would find out is in the zero page built here.
#include <fmt/format.h>

#include <algorithm>

#include "entry_state.h"
#include "linux_header.h"
#include "little_endian.h"
#include "loaders.h"

namespace dualvm::boot {

namespace {

// struct boot_params, "the zero page".
constexpr u64 kZeroPageSize = kPageSize;
constexpr u64 kExtendedKibibytes16 = 0x002, kVideoModeNow = 0x006, kVideoColumns = 0x007, kVideoLines = 0x00e,
              kVideoIsVga = 0x00f, kVideoPoints = 0x010, kExtendedKibibytes32 = 0x1e0, kE820Count = 0x1e8,
              kE820Table = 0x2d0, kE820EntrySize = 20, kE820MaxEntries = 128;

constexpr u16 kNormalVideoMode = 0xffff;
constexpr u8 kUndefinedLoader = 0xff;
constexpr u64 k64BitEntryOffset = 0x200;
constexpr u16 kBootCs = 0x10;  // __BOOT_CS; __BOOT_DS is the next

// "Anywhere between the end of the setup heap and 0xA0000" (boot.rst, "The Kernel Command Line"), and we have no heap.
constexpr AddressRange kLowMemory = {0x10000, kConventionalEnd};

std::string protocol_text(u16 version) { return fmt::format("{}.{:02}", version >> 8, version & 0xff); }

// Where the kernel goes, with all memory kept free that it uses before it knows what is where. boot.rst, "init_size".
Expected<u64> put_kernel(const BootImage& image, const LinuxHeader& header, LoadPlan& plan) {
    const u64 size = header.payload.size();
    u64 load_address = kExtendedMemory, runtime_start = header.preferred_address;
    if (header.relocatable) {
        // It runs where it is loaded. The preferred address is as good as any other that is aligned, and the 64-bit
        // decompressor moves a kernel up to it that is loaded lower, so it is also the lowest.
        load_address = (header.preferred_address + header.alignment - 1) & ~(header.alignment - 1);
        runtime_start = load_address;
    }
    if (load_address < kExtendedMemory || runtime_start + header.init_size < runtime_start) {
        return bad_image(image.name, fmt::format("its pref_address {:#x} wraps around", header.preferred_address),
                         "the file is damaged: build or copy it again");
    }
    auto put = plan.put(load_address, header.payload, size,
                        fmt::format("Linux kernel, boot protocol {}", protocol_text(header.version)));
    if (!put) return tl::unexpected(put.error());
    const u64 loaded_end = load_address + size, runtime_end = runtime_start + header.init_size;
    if (runtime_end > loaded_end) {
        auto kept = plan.keep_free(loaded_end, runtime_end - loaded_end, "kernel's memory while it starts (init_size)");
        if (!kept) return tl::unexpected(kept.error());
    }
    return load_address;
}

// The initial RAM disk, as high as the kernel can reach; several are joined, each 4-byte aligned, as the kernel's
// unpacker takes them (Documentation/driver-api/early-userspace/buffer-format.rst).
Expected<Placement> put_initrd(const BootImage& image, const LinuxHeader& header, LoadPlan& plan) {
    if (image.modules.empty()) return Placement{};
    std::vector<u8> joined;
    for (const BootModule& module : image.modules) {
        joined.resize((joined.size() + 3) & ~std::size_t{3});
        joined.insert(joined.end(), module.bytes.begin(), module.bytes.end());
    }
    const u64 size = joined.size();
    const auto address = plan.put_anywhere(
        std::move(joined), kPageSize, {kExtendedMemory, header.initrd_address_max + 1}, Search::Downwards, "initrd");
    if (!address) return tl::unexpected(address.error());
    return Placement{.base = *address, .size = size, .what = {}};
}

Expected<u64> put_command_line(const BootImage& image, const LinuxHeader& header, LoadPlan& plan) {
    if (image.append.size() > header.command_line_max) {
        return bad_image(image.name,
                         fmt::format("the command line has {} characters and this kernel takes {}", image.append.size(),
                                     header.command_line_max),
                         "shorten -append");
    }
    return plan.put_anywhere(zero_terminated(image.append), 16, kLowMemory, Search::Upwards, "command line");
}

std::vector<u8> zero_page(const BootImage& image, const LinuxHeader& header, const std::vector<MemoryMapEntry>& map,
                          u64 load_address, u64 command_line, const Placement& initrd) {
    using namespace setup_header;
    std::vector<u8> page(kZeroPageSize);
    // "Load the setup header at offset 0x01f1 of the kernel image into struct boot_params" (boot.rst, 32-bit protocol).
    for (u64 at = kBegin; at < header.header_end; ++at) page[at] = image.kernel[at];
    store(page, setup_header::kVideoMode, kNormalVideoMode);
    store(page, kTypeOfLoader, kUndefinedLoader);
    store(page, kCode32Start, static_cast<u32>(load_address));
    store(page, kRamdiskImage, static_cast<u32>(initrd.base));
    store(page, kRamdiskSize, static_cast<u32>(initrd.size));
    store(page, kCommandLinePointer, static_cast<u32>(command_line));

    const u64 kibibytes = extended_kibibytes(map);
    store(page, kExtendedKibibytes16, static_cast<u16>(std::min<u64>(kibibytes, 0xffff)));
    store(page, kExtendedKibibytes32, static_cast<u32>(kibibytes));
    store(page, kVideoModeNow, u8{3});
    store(page, kVideoColumns, u8{80});
    store(page, kVideoLines, u8{25});
    store(page, kVideoIsVga, u8{1});
    store(page, kVideoPoints, u16{16});

    const u64 entries = std::min<u64>(map.size(), kE820MaxEntries);
    store(page, kE820Count, static_cast<u8>(entries));
    for (u64 i = 0; i < entries; ++i) {
        store(page, kE820Table + i * kE820EntrySize + 0, map[i].base);
        store(page, kE820Table + i * kE820EntrySize + 8, map[i].size);
        store(page, kE820Table + i * kE820EntrySize + 16, static_cast<u32>(map[i].type));
    }
    return page;
}

// Page tables that map the first 4 GiB to themselves in 2 MiB pages (SDM vol. 3A, 4.5): one PML4, one page-directory-
// pointer table, four page directories, one after the other from `base` on.
constexpr u64 kPageDirectories = 4, kPageTablesSize = (2 + kPageDirectories) * kPageSize;
std::vector<u8> identity_page_tables(u64 base) {
    constexpr u64 kPresentWritable = 3, kLargePage = 1u << 7, kEntries = 512;
    std::vector<u8> tables(kPageTablesSize);
    store(tables, 0, (base + kPageSize) | kPresentWritable);
    for (u64 d = 0; d < kPageDirectories; ++d) {
        store(tables, kPageSize + d * 8, (base + (2 + d) * kPageSize) | kPresentWritable);
        for (u64 e = 0; e < kEntries; ++e) {
            store(tables, (2 + d) * kPageSize + e * 8, (d * kEntries + e) << 21 | kLargePage | kPresentWritable);
        }
    }
    return tables;
}

}  // namespace

Expected<Entry> plan_linux(const BootImage& image, LoadPlan& plan) {
    const auto header = parse_linux_header(image.name, image.kernel);
    if (!header) return tl::unexpected(header.error());
    const bool long_mode =
        image.protocol == Protocol::Linux64 || (image.protocol != Protocol::Linux32 && header->has_64bit_entry);
    if (long_mode && !header->has_64bit_entry) {
        return bad_image(image.name, "this kernel has no 64-bit entry point (XLF_KERNEL_64)",
                         "start it by the 32-bit protocol (linux32)");
    }
    if (long_mode && header->payload.size() <= k64BitEntryOffset) {
        return bad_image(image.name, "it ends before its 64-bit entry point", "build or copy it again");
    }
    const auto load_address = put_kernel(image, *header, plan);
    if (!load_address) return tl::unexpected(load_address.error());
    const auto initrd = put_initrd(image, *header, plan);
    if (!initrd) return tl::unexpected(initrd.error());
    const auto command_line = put_command_line(image, *header, plan);
    if (!command_line) return tl::unexpected(command_line.error());
    const auto parameters =
        plan.put_anywhere(zero_page(image, *header, plan.map(), *load_address, *command_line, *initrd), kPageSize,
                          kLowMemory, Search::Upwards, "zero page (struct boot_params)");
    if (!parameters) return tl::unexpected(parameters.error());
    const FlatGdt gdt = flat_gdt(kBootCs, long_mode ? CodeSize::Bits64 : CodeSize::Bits32);
    const auto gdt_address = plan.put_anywhere(gdt.bytes, 16, kLowMemory, Search::Upwards, "global descriptor table");
    if (!gdt_address) return tl::unexpected(gdt_address.error());
    put_bios_data(plan);

    Entry state{.protocol = long_mode ? Protocol::Linux64 : Protocol::Linux32, .address = *load_address};
    if (long_mode) {
        const auto tables = plan.find_room(kPageTablesSize, kPageSize, kLowMemory, Search::Upwards, "page tables");
        if (!tables) return tl::unexpected(tables.error());
        plan.put_in_room(*tables, identity_page_tables(*tables), "page tables");
        state.address += k64BitEntryOffset;
        enter_long_mode(state.cpu, gdt, *gdt_address, *tables, state.address);
    } else {
        enter_protected_mode(state.cpu, gdt, *gdt_address, state.address);
    }
    state.cpu.general.gpr[RDX] = 0;
    state.cpu.general.gpr[RSI] = *parameters;
    return state;
}

}  // namespace dualvm::boot
