// The CPU as boot protocols promise it: complete states for CpuFile, valid for every engine.
//
// A CPU that runs guests in hardware checks the hidden parts of segment registers when it enters the guest (SDM vol.
// 3C, 26.3.1.2): code and data must be marked accessed, the task register must hold a busy TSS. The descriptors
// written to the guest's GDT are made from the same values, so a guest that reloads a selector finds what it had.
#pragma once

#include <vector>

#include "dualvm/cpu_file.h"

namespace dualvm::boot {

// A global descriptor table with one flat code and one flat data segment.
struct FlatGdt {
    Segment code, data;
    std::vector<u8> bytes;
};
enum class CodeSize : u8 { Bits32, Bits64 };
// Code at `code_selector`, data behind it: 08h and 10h for most, 10h and 18h for Linux (__BOOT_CS, __BOOT_DS).
FlatGdt flat_gdt(u16 code_selector, CodeSize size);

inline constexpr u64 kInitialStack = 0x7c00;  // grows down to the BIOS data area; protocols leave ESP undefined

// RESET, then: 32-bit protected mode without paging, flat segments, interrupts off, no IDT.
void enter_protected_mode(CpuFile& cpu, const FlatGdt& gdt, u64 gdt_address, u64 entry);
// RESET, then: 64-bit mode with the page tables at `page_tables`, flat segments, interrupts off, no IDT.
void enter_long_mode(CpuFile& cpu, const FlatGdt& gdt, u64 gdt_address, u64 page_tables, u64 entry);
// RESET, then: real mode at 0000:`entry`, all segments 0, interrupts off, IVT at 0.
void enter_real_mode(CpuFile& cpu, u16 entry);

}  // namespace dualvm::boot
