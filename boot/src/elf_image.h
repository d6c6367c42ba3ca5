// ELF executables (System V ABI, "Object Files"; ELF-64 Object File Format): the parts a loader needs.
//
// 32- and 64-bit files are read into one form. Every offset and length in the file is checked here.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dualvm/types.h"
#include "load_plan.h"

namespace dualvm::boot {

enum class ElfClass : u8 { Elf32 = 1, Elf64 = 2 };
namespace elf_machine {
inline constexpr u16 k386 = 3, kX86_64 = 62;
}

struct ElfSegment {
    u64 virtual_address = 0;
    u64 physical_address = 0;
    std::span<const u8> bytes{};  // p_filesz bytes of the file
    u64 memory_size = 0;          // p_memsz
    u64 alignment = 0;
};

struct ElfImage {
    ElfClass elf_class = ElfClass::Elf32;
    u16 machine = 0;
    u64 entry = 0;                   // e_entry, a virtual address
    std::vector<ElfSegment> loaded;  // PT_LOAD with p_memsz > 0
    std::vector<ElfSegment> notes;   // PT_NOTE
};

bool is_elf(std::span<const u8> file);
// Only the machine number; for decisions before the file is looked at closely.
std::optional<u16> elf_machine_of(std::span<const u8> file);
// Reads a whole ELF executable for x86. `name` is for errors.
Expected<ElfImage> parse_elf(const std::string& name, std::span<const u8> file);

// Puts all loaded segments into the plan, at their physical addresses.
Expected<void> put_segments(LoadPlan& plan, const ElfImage& elf);
// e_entry as a physical address: translated through the segment that it is in, or as it is if it is in none (kernels
// linked high whose linker script gives the entry physically already).
u64 physical_entry(const ElfImage& elf);

// The contents of the note with that owner and type, if there is one (System V ABI, "Note Section").
std::optional<std::span<const u8>> find_note(const ElfImage& elf, std::string_view owner, u32 type);

}  // namespace dualvm::boot
