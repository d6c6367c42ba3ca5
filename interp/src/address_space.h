// Address spaces: what is remembered of each one's translations, so that a guest with PCIDs finds it again when it
// comes back (SDM vol. 3A, 4.10.1).
//
// Handlers know nothing of this: State::tlb points into the current one, and State::map_generation is its own.
#pragma once

#include "tlb.h"

namespace dualvm::interp {

struct State;

struct AddressSpace {
    static constexpr u64 kNone = ~u64{0};
    u64 cr3 = kNone;  // the base of its tables, and its PCID; kNone: nothing is remembered

    // [0] supervisor, [1] user, [2] supervisor that SMAP lets at user pages (CR4.SMAP and EFLAGS.AC set).
    std::array<Tlb, 3> tlbs;
    TableCache tables;                // of wide (PAE and 4-level) paging
    PageFilter executed_pages{12};    // linear pages of the code that has been found since the map changed
    PageFilter executed_regions{22};  // and the 4 MiB regions that they lie in
    PageFilter large_regions{22};     // 4 MiB regions of which large pages have been used since the last flush
    PageFilter huge_regions{30};      // the same for pages of 1 GiB
    bool global_pages_used = false;   // translations that hold in every address space

    // State::map_generation when it was left; 0: linear -> physical has changed since.
    u32 map_generation = 0;
    u64 left_at = 0;  // the number of that change of address spaces: the one left longest ago makes room

    bool holds(u64 pcid) const { return cr3 != kNone && (cr3 & kPcidMask) == pcid; }

    static constexpr u64 kPcidMask = 0xfff;
};

// More than the twelve that Linux keeps in use (six processes, each with the kernel's pages and without) would be idle.
inline constexpr std::size_t kAddressSpaces = 12;

// Has the translations of CR3's address space in use from now on: those that were left there if `keep` (bit 63 of what
// is written to CR3 with CR4.PCIDE; SDM vol. 3A, 4.10.4.1), else none.
void enter_address_space(State& s, bool keep);

// Forget translations: all of them (CR0, CR4, EFER changes, INVPCID; MOV CR3 without PCIDs), global ones too; those of
// one PCID; or one page's (INVLPG), of the current PCID and global ones. More than the manual asks for is always right.
void flush_tlb(State& s);
void flush_tlb_of(State& s, u64 pcid);
void flush_tlb_page(State& s, u64 linear);
// The current PCID's of a page at which an access has faulted, so that it does not fault again once the guest has
// repaired its tables (SDM vol. 3A, 4.10.4.1).
void flush_faulting_page(State& s, u64 linear);
// One page's, of a PCID that may not be the current one.
void flush_tlb_page_of(State& s, u64 pcid, u64 linear);

}  // namespace dualvm::interp
