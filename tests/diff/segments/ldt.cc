#include "ldt.h"

#include <fmt/format.h>

namespace dualvm::segments {

u64 SegmentKind::descriptor() const {
    constexpr u64 kUser = 0x70, kAccessed = 1, kReadOrWrite = 2, kPresent = 0x80, kDb = 4, kG = 8;
    const u64 rights =
        kUser | kAccessed | static_cast<u64>(kind) << 2 | (restricted ? 0 : kReadOrWrite) | (absent ? 0 : kPresent);
    const u64 size = (wide ? kDb : 0) | (pages ? kG : 0);
    return (limit & 0xffff) | (base & 0xffffff) << 16 | rights << 40 | u64{limit >> 16 & 0xf} << 48 | size << 52 |
           (base >> 24 & 0xff) << 56;
}

Segment SegmentKind::loaded(u16 selector) const {
    const u64 d = descriptor();
    return {.base = base,
            .limit = pages ? limit << 12 | 0xfff : limit,
            .access = static_cast<u32>((d >> 40 & 0xff) | (d >> 52 & 0xf) << 12),
            .selector = selector};
}

std::string to_text(u16 selector) {
    if (is_null(selector)) return fmt::format("{:04x} null", selector);
    const SegmentKind& s = segment_of(selector);
    return fmt::format("{:04x} {} (base {:x}, limit {:x}{})", selector, s.name, s.base, s.limit,
                       s.pages ? " pages" : "");
}

}  // namespace dualvm::segments
