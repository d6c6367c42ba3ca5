#include "dualvm/study/guest_view.h"

#include <algorithm>

namespace dualvm::study {

namespace {

// Bits of every paging-structure entry (SDM vol. 3A, tables 4-2 to 4-20).
constexpr u64 kPresent = 1, kLargePage = 1u << 7;
constexpr u64 kAddressMask = 0x000ffffffffff000;  // bits 51:12

// One step down: the entry `index` of the table at `table`, if it is present.
template <class Entry>
std::optional<u64> entry(const VMem& vmem, u64 table, u64 index) {
    Entry value = 0;
    if (!vmem.read_value((table + index * sizeof(Entry)) & vmem.a20_mask(), value)) return std::nullopt;
    if (!(value & kPresent)) return std::nullopt;
    return value;
}

// The levels from `level` on (4: PML4, 3: PDPT, 2: page directory, 1: page table), nine bits each: 4-level and PAE.
std::optional<u64> walk64(const VMem& vmem, u64 table, unsigned level, u64 linear) {
    for (;; --level) {
        const unsigned shift = 12 + 9 * (level - 1);
        const auto e = entry<u64>(vmem, table, (linear >> shift) & 511);
        if (!e) return std::nullopt;
        if (level == 1 || (level < 4 && (*e & kLargePage))) {
            const u64 offset_mask = (u64{1} << shift) - 1;
            return (*e & kAddressMask & ~offset_mask) | (linear & offset_mask);
        }
        table = *e & kAddressMask;
    }
}

std::optional<u64> walk32(const CpuFile& cpu, const VMem& vmem, u64 linear) {
    const auto directory = entry<u32>(vmem, cpu.control.cr3 & 0xfffff000, linear >> 22);
    if (!directory) return std::nullopt;
    if ((cpu.control.cr4 & cr4::PSE) && (*directory & kLargePage)) {
        const u64 high = (*directory >> 13 & 0xff) << 32;  // PSE-36: bits 39:32 of the address
        return high | (*directory & 0xffc00000) | (linear & 0x3fffff);
    }
    const auto page = entry<u32>(vmem, *directory & 0xfffff000, linear >> 12 & 1023);
    if (!page) return std::nullopt;
    return (*page & 0xfffff000) | (linear & kPageMask);
}

}  // namespace

std::optional<u64> translate(const CpuFile& cpu, const VMem& vmem, u64 linear) {
    const ControlGroup& c = cpu.control;
    const bool long_mode = (c.efer & efer::LMA) != 0;
    if (!long_mode) linear &= 0xffffffff;
    std::optional<u64> physical = linear;
    if (c.cr0 & cr0::PG) {
        if (long_mode) {
            physical = walk64(vmem, c.cr3 & kAddressMask, 4, linear);
        } else if (c.cr4 & cr4::PAE) {
            const u64 pdpte = c.pdpte[linear >> 30];
            if (!(pdpte & kPresent)) return std::nullopt;
            physical = walk64(vmem, pdpte & kAddressMask, 2, linear);
        } else {
            physical = walk32(cpu, vmem, linear);
        }
    }
    if (physical) *physical &= vmem.a20_mask();
    return physical;
}

std::size_t read_linear(const CpuFile& cpu, const VMem& vmem, u64 linear, std::span<u8> into) {
    std::size_t done = 0;
    while (done < into.size()) {
        const u64 address = linear + done;
        const auto physical = translate(cpu, vmem, address);
        const u64 piece = std::min<u64>(into.size() - done, kPageSize - (address & kPageMask));
        if (!physical || !vmem.read(*physical, into.data() + done, piece)) break;
        done += piece;
    }
    return done;
}

CodeBytes code_at_rip(const CpuFile& cpu, const VMem& vmem) {
    CodeBytes code;
    code.count = read_linear(cpu, vmem, cpu.code_base() + cpu.general.rip, code.bytes);
    return code;
}

std::optional<u64> handler_of(const CpuFile& cpu, const VMem& vmem, u8 vector) {
    std::array<u8, 16> gate{};
    const bool real = !(cpu.control.cr0 & cr0::PE);
    const bool long_mode = (cpu.control.efer & efer::LMA) != 0;
    const std::size_t size = real ? 4 : long_mode ? 16 : 8;
    const u64 where = cpu.segments.idtr.base + vector * size;
    if (read_linear(cpu, vmem, where, std::span(gate).first(size)) != size) return std::nullopt;
    auto word = [&](std::size_t i) { return static_cast<u64>(gate[i] | gate[i + 1] << 8); };
    u64 offset = word(0);
    if (real) return offset;
    const bool gate16 = (gate[5] & 0xf) < 8;  // 286 gates have 16-bit offsets
    if (!gate16) offset |= word(6) << 16;
    if (long_mode) offset |= word(8) << 32 | word(10) << 48;
    return offset;
}

}  // namespace dualvm::study
