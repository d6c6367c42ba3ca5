// The machine around a case: page tables, descriptor tables, and a kernel of a few instructions.
#pragma once

#include "dualvm/machine.h"
#include "dualvm/study/ring3_case.h"

namespace dualvm::study::world {

inline constexpr u64 kMebibytes = 1;

// The kernel's pages, far from where a case's addresses point, are supervisor pages.
inline constexpr u64 kKernel = 0x600000000000;
inline constexpr u64 kVectorStride = 16, kVectors = 32;
inline constexpr u64 kHandlers = kKernel, kEntry = kHandlers + kVectors * kVectorStride;
inline constexpr u64 kStack = kKernel + 0x1000, kStackTop = kStack + 0x1000;
inline constexpr u64 kEntryFrame = kStack + 0x100;  // what the entry's IRETQ takes

// Where the pages lie in physical memory.
inline constexpr u64 kStackPage = 0xa000, kCodePage = 0x10000, kWindowPages = 0x11000;

// An interrupt frame in 64-bit mode (SDM vol. 3A, figure 7-9), without the error code below it.
struct Frame {
    u64 rip, cs, rflags, rsp, ss;
};

// Writes all of it into memory and gives the CPU as it stands in the kernel, before the entry.
void build(Machine& machine, CpuFile& kernel);

}  // namespace dualvm::study::world
