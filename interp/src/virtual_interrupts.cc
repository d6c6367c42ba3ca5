#include "virtual_interrupts.h"

#include "descriptors.h"

namespace dualvm::interp {

bool load_virtual_flags(State& s, u64 image) {
    u64& flags = s.cpu.general.rflags;
    const bool enables = (image & rflags::IF) != 0;
    if ((image & rflags::TF) != 0 || (enables && (flags & rflags::VIP) != 0)) return fault(s, GP, 0);
    constexpr u64 kLoaded = rflags::Arithmetic | rflags::DF | rflags::NT | rflags::TF;
    flags = (flags & ~(kLoaded | rflags::VIF)) | (image & kLoaded) | (enables ? rflags::VIF : 0);
    return true;
}

bool redirects_interrupt(State& s, u8 vector, bool& redirected) {
    redirected = false;
    if (!s.virtual8086() || (s.cpu.control.cr4 & cr4::VME) == 0) return true;
    constexpr u32 kMapBaseOffset = 0x66, kBitmapBytes = 32;
    const Segment& tr = s.cpu.segments.tr;
    const bool tss32 = (tr.type() & 8) != 0;
    if (tr.has(Segment::Unusable) || !tss32 || tr.limit < kMapBaseOffset + 1) return fault(s, GP, 0);
    auto linear = [&](u32 offset) { return (tr.base + offset) & 0xffffffff; };
    u16 map_base = 0;
    u8 bits = 0;
    if (!read_linear_value(s, linear(kMapBaseOffset), map_base, Privilege::Supervisor)) return false;
    const u32 offset = map_base - kBitmapBytes + vector / 8u;
    if (offset > tr.limit) return fault(s, GP, 0);
    if (!read_linear_value(s, linear(offset), bits, Privilege::Supervisor)) return false;
    redirected = (bits >> (vector % 8) & 1) == 0;
    return true;
}

}  // namespace dualvm::interp
