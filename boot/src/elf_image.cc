#include "elf_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "little_endian.h"

namespace dualvm::boot {

namespace {

constexpr u32 kPtLoad = 1, kPtNote = 4;
constexpr u8 kLittleEndian = 1;
constexpr u16 kExecutable = 2, kSharedObject = 3;  // e_type; position-independent executables are ET_DYN

// Where the fields are; the 64-bit form orders the program header differently.
struct ElfLayout {
    u64 word;  // size of an address: 4 or 8
    u64 header_size, e_phoff, e_phentsize, e_phnum;
    u64 ph_size, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};
constexpr ElfLayout kElf32 = {4, 52, 28, 42, 44, 32, 4, 8, 12, 16, 20, 28};
constexpr ElfLayout kElf64 = {8, 64, 32, 54, 56, 56, 8, 16, 24, 32, 40, 48};
constexpr u64 kEType = 16, kEMachine = 18, kEEntry = 24;

// A field of address size, at a place that has been checked to be inside.
u64 address_field(const ElfLayout& layout, std::span<const u8> bytes, u64 offset) {
    return layout.word == 4 ? load<u32>(bytes, offset).value_or(0) : load<u64>(bytes, offset).value_or(0);
}

}  // namespace

bool is_elf(std::span<const u8> file) { return file.size() >= 4 && std::memcmp(file.data(), "\177ELF", 4) == 0; }

std::optional<u16> elf_machine_of(std::span<const u8> file) {
    return is_elf(file) ? load<u16>(file, kEMachine) : std::nullopt;
}

Expected<ElfImage> parse_elf(const std::string& name, std::span<const u8> file) {
    constexpr const char* kBuildAgain = "the file is damaged or cut off: build or copy it again";
    if (!is_elf(file)) return bad_image(name, "it is not an ELF file", "give an ELF executable");
    const u8 elf_class = file.size() > 5 ? file[4] : 0;
    if (elf_class != 1 && elf_class != 2)
        return bad_image(name, "its ELF class is neither 32 nor 64 bits", kBuildAgain);
    const ElfLayout& layout = elf_class == 1 ? kElf32 : kElf64;
    if (file.size() < layout.header_size) return bad_image(name, "its ELF header is cut off", kBuildAgain);
    if (file[5] != kLittleEndian) {
        return bad_image(name, "it is a big-endian ELF file", "an x86 guest is little-endian: build it for x86");
    }
    ElfImage elf;
    elf.elf_class = static_cast<ElfClass>(elf_class);
    elf.machine = *load<u16>(file, kEMachine);
    elf.entry = address_field(layout, file, kEEntry);
    if (elf.machine != elf_machine::k386 && elf.machine != elf_machine::kX86_64) {
        return bad_image(name, fmt::format("it is an ELF file for another CPU (e_machine {})", elf.machine),
                         "build it for x86");
    }
    const u16 type = *load<u16>(file, kEType);
    if (type != kExecutable && type != kSharedObject) {
        return bad_image(name, fmt::format("it is an ELF file but not an executable (e_type {})", type),
                         "link it: dualvm loads executables, not object files");
    }
    const u64 table = address_field(layout, file, layout.e_phoff);
    const u64 count = *load<u16>(file, layout.e_phnum), entry_size = *load<u16>(file, layout.e_phentsize);
    if (count == 0) return bad_image(name, "it has no program headers", "link it: object files cannot be loaded");
    if (entry_size < layout.ph_size) {
        return bad_image(name, fmt::format("its program headers are only {} bytes long", entry_size), kBuildAgain);
    }
    if (table > file.size() || file.size() - table < count * entry_size) {
        return bad_image(name,
                         fmt::format("its {} program headers at {:#x} reach past the end of the file", count, table),
                         kBuildAgain);
    }
    for (u64 i = 0; i < count; ++i) {
        const auto header = file.subspan(table + i * entry_size, layout.ph_size);
        const u32 segment_type = *load<u32>(header, 0);
        if (segment_type != kPtLoad && segment_type != kPtNote) continue;
        const u64 offset = address_field(layout, header, layout.p_offset);
        const u64 file_size = address_field(layout, header, layout.p_filesz);
        const u64 memory_size = address_field(layout, header, layout.p_memsz);
        if (offset > file.size() || file.size() - offset < file_size) {
            return bad_image(name,
                             fmt::format("ELF segment {} ({:#x} bytes at {:#x}) reaches past the end of the file", i,
                                         file_size, offset),
                             kBuildAgain);
        }
        if (segment_type == kPtLoad && file_size > memory_size) {
            return bad_image(name,
                             fmt::format("ELF segment {} has more bytes in the file ({:#x}) than in memory ({:#x})", i,
                                         file_size, memory_size),
                             kBuildAgain);
        }
        const ElfSegment segment = {.virtual_address = address_field(layout, header, layout.p_vaddr),
                                    .physical_address = address_field(layout, header, layout.p_paddr),
                                    .bytes = file.subspan(offset, file_size),
                                    .memory_size = memory_size,
                                    .alignment = address_field(layout, header, layout.p_align)};
        if (segment_type == kPtNote) {
            elf.notes.push_back(segment);
        } else if (memory_size != 0) {
            elf.loaded.push_back(segment);
        }
    }
    if (elf.loaded.empty()) {
        return bad_image(name, "it has no segment to load (no PT_LOAD)", "link it as an executable");
    }
    return elf;
}

Expected<void> put_segments(LoadPlan& plan, const ElfImage& elf) {
    for (std::size_t i = 0; i < elf.loaded.size(); ++i) {
        const ElfSegment& s = elf.loaded[i];
        auto ok = plan.put(s.physical_address, s.bytes, s.memory_size, fmt::format("ELF segment {}", i));
        if (!ok) return ok;
    }
    return {};
}

u64 physical_entry(const ElfImage& elf) {
    for (const ElfSegment& s : elf.loaded) {
        if (elf.entry >= s.virtual_address && elf.entry - s.virtual_address < s.memory_size) {
            return elf.entry - s.virtual_address + s.physical_address;
        }
    }
    return elf.entry;
}

std::optional<std::span<const u8>> find_note(const ElfImage& elf, std::string_view owner, u32 type) {
    // Segments may overlap: without a limit, a file could have each of thousands be walked from end to end.
    constexpr unsigned kMostNotes = 1u << 16;
    unsigned notes = 0;
    for (const ElfSegment& segment : elf.notes) {
        const u64 alignment = segment.alignment == 8 ? 8 : 4;
        auto aligned = [&](u64 size) { return (size + alignment - 1) / alignment * alignment; };
        // Each turn moves on by at least the 12 bytes of a note's header, so this ends.
        for (u64 at = 0; at < segment.bytes.size();) {
            const auto name_size = load<u32>(segment.bytes, at), contents_size = load<u32>(segment.bytes, at + 4);
            const auto note_type = load<u32>(segment.bytes, at + 8);
            if (!note_type) break;
            if (++notes > kMostNotes) return std::nullopt;
            const u64 name_at = at + 12, contents_at = at + aligned(12 + u64{*name_size});
            if (contents_at > segment.bytes.size() || segment.bytes.size() - contents_at < *contents_size) break;
            const auto note_name = segment.bytes.subspan(name_at, *name_size);
            if (*note_type == type && note_name.size() == owner.size() + 1 && note_name.back() == 0 &&
                std::memcmp(note_name.data(), owner.data(), owner.size()) == 0) {
                return segment.bytes.subspan(contents_at, *contents_size);
            }
            at = contents_at + aligned(*contents_size);
        }
    }
    return std::nullopt;
}

}  // namespace dualvm::boot
