// The segments that cases run in: an LDT with a descriptor of each kind that a program may make, the same for the
// host's CPU and for the interpreter. Linux takes conforming code only if it is absent.
#pragma once

#include <array>
#include <string>

#include "dualvm/cpu_file.h"

namespace dualvm::segments {

// Linear addresses below 4 GiB, where 32-bit segment bases reach: data, and code behind it. Around them nothing is
// mapped. Segments of 64 KiB fit, with one page more behind them, so that what a limit stops would have had memory.
inline constexpr u64 kBytes = 0x11000, kData = 0x10000000, kCode = 0x10020000;
inline constexpr u8 kFiller = 0xf4;  // HLT, #GP at ring 3: it ends every case

enum class Kind : u8 { Data, ExpandDown, Code, Conforming };

struct SegmentKind {
    const char* name;
    u64 base;
    u32 limit;  // as in the descriptor: in pages with `pages`
    Kind kind = Kind::Data;
    bool wide = false;        // D/B
    bool restricted = false;  // data that cannot be written, code that cannot be read
    bool pages = false, absent = false;

    u64 descriptor() const;              // SDM vol. 3A, 3.4.5
    Segment loaded(u16 selector) const;  // what a segment register's hidden part gets of it
};

inline constexpr std::array kSegments = {
    SegmentKind{"16-bit code", kCode, 0xffff, Kind::Code},
    SegmentKind{"4 KiB of data", kData, 0xfff},
    SegmentKind{"64 KiB of data", kData, 0xffff},
    SegmentKind{"16-bit expand-down data", kData, 0x7ff, Kind::ExpandDown},
    SegmentKind{"32-bit expand-down data", kData, 0x7ff, Kind::ExpandDown, true},
    SegmentKind{"read-only data", kData, 0xffff, Kind::Data, false, true},
    SegmentKind{"absent data", kData, 0xffff, Kind::Data, false, false, false, true},
    SegmentKind{"32-bit code", kCode, 0xffff, Kind::Code, true},
    SegmentKind{"execute-only 16-bit code", kCode, 0xffff, Kind::Code, false, true},
    SegmentKind{"absent conforming code", kCode, 0xffff, Kind::Conforming, false, false, false, true},
    SegmentKind{"64 KiB of 32-bit data", kData, 0xffff, Kind::Data, true},
    SegmentKind{"short 16-bit code", kCode, 0x1007, Kind::Code},
    SegmentKind{"four pages of data", kData, 3, Kind::Data, false, false, true},
    SegmentKind{"short 32-bit code", kCode, 0x1007, Kind::Code, true},
    SegmentKind{"data with an odd base", kData + 1, 0xfffe, Kind::Data, true},
    SegmentKind{"read-only expand-down pages", kData, 0xfff, Kind::ExpandDown, true, true, true},
    SegmentKind{"expand-down data with an odd base", kData + 3, 0xffc, Kind::ExpandDown},
};
enum Index : unsigned {  // of these
    Code16,
    Data4K,
    Data64K,
    Down16,
    Down32,
    ReadOnly,
    AbsentData,
    Code32,
    ExecuteOnly16,
    AbsentCode,
    Data32,
    Short16,
    Pages,
    Short32,
    OddBase,
    ReadOnlyDown,
    OddDown
};
static_assert(OddDown + 1 == kSegments.size());

// TI = 1 is the LDT (SDM vol. 3A, 3.4.2).
constexpr u16 selector_of(unsigned index, unsigned rpl = 3) { return static_cast<u16>(index << 3 | 4 | rpl); }
constexpr bool is_null(u16 selector) { return selector < 4; }
constexpr const SegmentKind& segment_of(u16 selector) { return kSegments[selector >> 3]; }

std::string to_text(u16 selector);  // of one of these, or null

}  // namespace dualvm::segments
