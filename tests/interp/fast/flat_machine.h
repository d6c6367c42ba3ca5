// A CPU in a mode in which nothing is in the way.
#pragma once

#include <gtest/gtest.h>

#include "dualvm/machine.h"

namespace dualvm {

inline constexpr u64 kFlatDirectory = 0x12000;  // the page directory of 64-bit mode

// Flat memory: 2 MiB pages, identity-mapped, 64-bit mode; or 32-bit protected mode without paging.
inline void set_up_flat(Machine& machine, bool long_mode) {
    CpuFile& cpu = machine.cpu();
    cpu.control.cr0 = cr0::PE | cr0::ET | cr0::NE;
    const u32 code = Segment::P | Segment::S | 11 | Segment::G | (long_mode ? Segment::L : Segment::DB);
    const u32 data = Segment::P | Segment::S | 3 | Segment::G | Segment::DB;
    for (Segment& s : cpu.segments.seg) s = {.base = 0, .limit = 0xffffffff, .access = data, .selector = 0x10};
    cpu.segments.seg[CS] = {.base = 0, .limit = 0xffffffff, .access = code, .selector = 8};
    if (!long_mode) return;
    constexpr u64 kTable = 0x10000, kFlags = 3;
    ASSERT_TRUE(machine.vmem().write_value(kTable, u64{kTable + 0x1000} | kFlags));
    ASSERT_TRUE(machine.vmem().write_value(kTable + 0x1000, kFlatDirectory | kFlags));
    for (u64 i = 0; i < 4; ++i) {
        ASSERT_TRUE(machine.vmem().write_value(kFlatDirectory + 8 * i, i << 21 | kFlags | 0x80));
    }
    cpu.control.cr3 = kTable;
    cpu.control.cr4 = cr4::PAE;
    cpu.control.efer = efer::LME | efer::LMA;
    cpu.control.cr0 |= cr0::PG;
}

}  // namespace dualvm
