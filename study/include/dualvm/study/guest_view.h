// What a debugger needs to see of a guest: memory through the guest's own page tables, without leaving a mark (no
// accessed bits, no faults, no permission checks).
#pragma once

#include <array>
#include <optional>
#include <span>

#include "dualvm/cpu_file.h"
#include "dualvm/vmem.h"

namespace dualvm::study {

// Linear to guest-physical (SDM vol. 3A, chapter 4); nothing if the page is not present.
std::optional<u64> translate(const CpuFile& cpu, const VMem& vmem, u64 linear);

// Copies what is at `linear`; less than asked for if a page is missing or is not memory. Returns how many bytes.
std::size_t read_linear(const CpuFile& cpu, const VMem& vmem, u64 linear, std::span<u8> into);

// The bytes at CS:RIP, up to the longest instruction.
struct CodeBytes {
    std::array<u8, 15> bytes{};
    std::size_t count = 0;
    std::span<const u8> span() const { return std::span(bytes).first(count); }
};
CodeBytes code_at_rip(const CpuFile& cpu, const VMem& vmem);

// Where the guest's handler for `vector` begins, as an instruction pointer: the real-mode vector table or the IDT (SDM
// vol. 3A, 6.10-6.14; vol. 3B, 20.1.4). Nothing if the table can't be read.
std::optional<u64> handler_of(const CpuFile& cpu, const VMem& vmem, u8 vector);

}  // namespace dualvm::study
