#include "page_walk.h"

#include <array>
#include <cstring>

#include "block_cache.h"

namespace dualvm::interp {

namespace {

// Bits of page-table entries (SDM vol. 3A, 4.3-4.5).
enum : u64 {
    kPresent = 1,
    kWritable = 2,
    kUser = 4,
    kAccessed = 0x20,
    kDirty = 0x40,
    kPageSizeBit = 0x80,
    kGlobal = 0x100,
    kNoExecute = u64{1} << 63,
};
// Page-fault error code (SDM vol. 3A, 4.7).
enum : u32 { kErrorPresent = 1, kErrorWrite = 2, kErrorUser = 4, kErrorReserved = 8, kErrorFetch = 16 };

template <class T>
T read_physical(const State& s, u64 physical) {
    T value = 0;
    // Page tables outside RAM read as a floating bus.
    if (const u8* host = s.machine->vmem().host_page(physical & s.machine->vmem().a20_mask())) {
        std::memcpy(&value, host, sizeof value);
    } else {
        value = static_cast<T>(~T{0});
    }
    return value;
}

template <class T>
void write_physical_ram(State& s, u64 physical, T value) {
    physical &= s.machine->vmem().a20_mask();
    const MemoryRegion* region = s.machine->vmem().find(physical);
    if (region == nullptr || region->kind != RegionKind::Ram) return;
    std::memcpy(region->host + (physical - region->base), &value, sizeof value);
    s.machine->vmem().mark_dirty(*region, physical);
    s.blocks->written(s, physical, sizeof value);
}

// What a walk found; entry addresses so that accessed and dirty bits can be set once the access is known to be allowed.
struct Walk {
    u64 physical = 0;
    bool present = false, reserved = false;
    bool writable = true, user = true, no_execute = false;
    std::array<u64, 4> entry_address{};
    std::array<u64, 4> entry{};
    unsigned depth = 0;
    bool wide = true;  // 8-byte entries
    u64 page_bytes = kPageSize;
    std::array<TableCache::Entry, 2> found{};  // tables on the way: a page table, a page directory
};

void add_entry(Walk& w, u64 address, u64 entry) {
    w.entry_address[w.depth] = address;
    w.entry[w.depth] = entry;
    ++w.depth;
    w.writable = w.writable && (entry & kWritable) != 0;
    w.user = w.user && (entry & kUser) != 0;
    w.no_execute = w.no_execute || (entry & kNoExecute) != 0;
}

// 32-bit paging, with 4 MiB pages and PSE-36 (SDM vol. 3A, 4.3).
Walk walk_32bit(const State& s, u64 linear) {
    Walk w;
    w.wide = false;
    const u64 pde_address = (s.cpu.control.cr3 & 0xfffff000) + ((linear >> 22) & 0x3ff) * 4;
    const u32 pde = read_physical<u32>(s, pde_address);
    if (!(pde & kPresent)) return w;
    add_entry(w, pde_address, pde);
    if ((pde & kPageSizeBit) && (s.cpu.control.cr4 & cr4::PSE)) {
        w.present = true;
        w.reserved = (pde & 0x200000) != 0;  // bit 21; bits 13-20 are address bits 32-39
        w.page_bytes = u64{4} << 20;
        w.physical = (pde & 0xffc00000) | (u64{(pde >> 13) & 0xff} << 32) | (linear & 0x3fffff);
        return w;
    }
    const u64 pte_address = (pde & 0xfffff000) + ((linear >> 12) & 0x3ff) * 4;
    const u32 pte = read_physical<u32>(s, pte_address);
    if (!(pte & kPresent)) return w;
    add_entry(w, pte_address, pte);
    w.present = true;
    w.physical = (pte & 0xfffff000) | (linear & 0xfff);
    return w;
}

// PAE paging (from a PDPTE register) and 4-level paging share their lower levels (SDM vol. 3A, 4.4, 4.5).
Walk walk_wide(State& s, u64 linear) {
    Walk w;
    const u64 address_mask = ((u64{1} << s.machine->cpu_model().physical_address_bits()) - 1) & ~kPageMask;
    u64 reserved_bits = 0x000fffffffffffff & ~kPageMask & ~address_mask;
    if (!(s.cpu.control.efer & efer::NXE)) reserved_bits |= kNoExecute;
    u64 table = 0;
    unsigned shift = 39;
    if (s.long_mode_active()) {
        table = s.cpu.control.cr3 & address_mask;
    } else {
        const u64 pdpte = s.cpu.control.pdpte[(linear >> 30) & 3];
        if (!(pdpte & kPresent)) return w;
        table = pdpte & address_mask;  // reserved bits were checked when it was loaded; it has no permissions
        shift = 21;
        // In PAE paging bits 52-62 of PDEs and PTEs are reserved as well (SDM vol. 3A, tables 4-9 to 4-11).
        reserved_bits |= u64{0x7ff} << 52;
    }
    for (unsigned cached : {21u, 30u}) {
        const TableCache::Entry& known = s.space->tables.at(cached, linear);
        if (!s.use.walks || cached > shift || known.tag != linear >> cached) continue;
        table = known.table;
        w.writable = known.writable;
        w.user = known.user;
        w.no_execute = known.no_execute;
        shift = cached - 9;
        break;
    }
    for (;; shift -= 9) {
        const u64 address = table + ((linear >> shift) & 0x1ff) * 8;
        const u64 entry = read_physical<u64>(s, address);
        if (!(entry & kPresent)) return w;
        add_entry(w, address, entry);
        if (entry & reserved_bits) w.reserved = true;
        const bool large = (entry & kPageSizeBit) != 0;
        if (large && shift == 39) w.reserved = true;
        if (w.reserved) {
            w.present = true;
            return w;
        }
        if (shift == 12 || large) {
            const u64 in_page = (u64{1} << shift) - 1;
            // Of a large page's offset bits only PAT (12) is not reserved (SDM vol. 3A, tables 4-15 and 4-17).
            if (shift != 12 && (entry & in_page & address_mask & ~u64{0x1fff})) w.reserved = true;
            w.present = true;
            w.page_bytes = u64{1} << shift;
            w.physical = (entry & address_mask & ~in_page) | (linear & in_page);
            return w;
        }
        table = entry & address_mask;
        if (shift <= 30) {
            w.found[shift == 21 ? 0 : 1] = {.tag = linear >> shift,
                                            .table = table,
                                            .writable = w.writable,
                                            .user = w.user,
                                            .no_execute = w.no_execute};
        }
    }
}

Walk walk(State& s, u64 linear) {
    if (!(s.cpu.control.cr0 & cr0::PG)) {
        Walk w;
        w.present = true;
        w.physical = linear & 0xffffffff;
        return w;
    }
    return (s.cpu.control.cr4 & cr4::PAE) ? walk_wide(s, linear) : walk_32bit(s, linear);
}

bool page_fault(State& s, u64 linear, u32 error_code) {
    flush_faulting_page(s, linear);
    s.cpu.control.cr2 = linear;
    s.raise(PF, error_code);
    return false;
}

// Access rights of a page that is present (SDM vol. 3A, 4.6.1).
bool page_allows(const State& s, const Walk& w, Access access, bool user, Privilege who) {
    if (!(s.cpu.control.cr0 & cr0::PG)) return true;
    const bool nx = (s.cpu.control.efer & efer::NXE) && w.no_execute;
    if (user) {
        if (!w.user) return false;
    } else if (w.user) {
        if (access == Access::Execute) {
            if (s.cpu.control.cr4 & cr4::SMEP) return false;
        } else if (s.cpu.control.cr4 & cr4::SMAP) {
            // An implicit supervisor access is never excused by EFLAGS.AC.
            if (who == Privilege::Supervisor || !exempt_from_smap(s)) return false;
        }
    }
    if (access == Access::Execute) return !nx;
    if (access == Access::Write && !w.writable) return !user && !(s.cpu.control.cr0 & cr0::WP);
    return true;
}

}  // namespace

bool exempt_from_smap(const State& s) {
    return !s.user && (s.cpu.control.cr4 & cr4::SMAP) != 0 && (s.cpu.general.rflags & rflags::AC) != 0;
}

bool walk_tables(State& s, u64 linear, Access access, bool user, Privilege who, u64& physical) {
    const Walk w = walk(s, linear);
    u32 error = 0;
    if (access == Access::Write) error |= kErrorWrite;
    if (user) error |= kErrorUser;
    // The fetch bit exists where execution can be forbidden (SDM vol. 3A, 4.7).
    const bool fetch_bit =
        ((s.cpu.control.cr4 & cr4::PAE) && (s.cpu.control.efer & efer::NXE)) || (s.cpu.control.cr4 & cr4::SMEP);
    if (access == Access::Execute && fetch_bit) error |= kErrorFetch;
    if (!w.present) return page_fault(s, linear, error);
    if (w.reserved) return page_fault(s, linear, error | kErrorPresent | kErrorReserved);
    if (!page_allows(s, w, access, user, who)) return page_fault(s, linear, error | kErrorPresent);
    for (unsigned i = 0; i < w.depth; ++i) {
        u64 wanted = w.entry[i] | kAccessed;
        if (access == Access::Write && i + 1 == w.depth) wanted |= kDirty;
        if (wanted == w.entry[i]) continue;
        if (w.wide) {
            write_physical_ram<u64>(s, w.entry_address[i], wanted);
        } else {
            write_physical_ram<u32>(s, w.entry_address[i], static_cast<u32>(wanted));
        }
    }
    if (w.page_bytes != kPageSize) s.space->large_regions.add(linear);
    if (w.page_bytes > u64{4} << 20) s.space->huge_regions.add(linear);
    // Without CR4.PGE the bit is ignored; then a few too many are forgotten.
    if (w.depth != 0 && (w.entry[w.depth - 1] & kGlobal) != 0) s.space->global_pages_used = true;
    // Only now: entries are cached when their accessed bits are set (SDM vol. 3A, 4.10.3.1).
    for (unsigned i = 0; i < w.found.size(); ++i) {
        if (w.found[i].table != 0) s.space->tables.remember(i == 0 ? 21 : 30, linear, w.found[i]);
    }
    physical = w.physical & s.machine->vmem().a20_mask();
    return true;
}

bool translate(State& s, u64 linear, Access access, bool user, u64& physical) {
    return walk_tables(s, linear, access, user, Privilege::Current, physical);
}

}  // namespace dualvm::interp
