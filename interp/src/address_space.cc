#include "address_space.h"

#include "block_cache.h"
#include "memory.h"
#include "state.h"

namespace dualvm::interp {

namespace {

// Another linear -> physical for code: what was found by linear address no longer counts.
void code_map_changed(State& s, AddressSpace& space) {
    space.executed_pages.clear();
    space.executed_regions.clear();
    space.map_generation = 0;
    if (&space == s.space) s.blocks->mapping_changed(s);
}

void flush_space(State& s, AddressSpace& space) {
    for (Tlb& tlb : space.tlbs) {
        tlb.read.flush();
        tlb.write.flush();
    }
    space.tables.flush();
    space.large_regions.clear();
    space.huge_regions.clear();
    space.global_pages_used = false;
    code_map_changed(s, space);
    if (&space == s.space) s.forget_stack_pages();
}

// What the TLBs have of the page, and how its code is found.
void flush_entries(State& s, AddressSpace& space, u64 linear) {
    if (space.huge_regions.may_have(linear)) return flush_space(s, space);
    const u64 page = linear & ~kPageMask;
    // All of a large page goes, by whichever of its addresses it is named (SDM vol. 3A, 4.10.4.1).
    const bool large = space.large_regions.may_have(linear);
    u64 looked_at = 0;
    for (Tlb& tlb : space.tlbs) {
        for (TlbTable* table : {&tlb.read, &tlb.write}) {
            if (large) {
                looked_at += table->forget_region(linear);
            } else {
                table->forget_page(page);
            }
        }
    }
    s.did_work(1, looked_at);  // in each address space that has global pages
    if (&space == s.space) s.forget_stack_pages();
    if (large ? space.executed_regions.may_have(linear) : space.executed_pages.may_have(page)) {
        code_map_changed(s, space);
    }
}

void flush_page(State& s, AddressSpace& space, u64 linear) {
    space.tables.flush();
    flush_entries(s, space, linear);
}

// Without PCIDs CR3's low bits mean other things, or nothing (SDM vol. 3A, table 4-12), and the PCID is 0.
bool is_of(const State& s, const AddressSpace& space, u64 pcid) {
    if ((s.cpu.control.cr4 & cr4::PCIDE) == 0) return pcid == 0 && &space == s.space;
    return space.holds(pcid);
}

// Calls `change` with every address space of which something is remembered.
template <class Change>
void for_each_space(State& s, Change change) {
    for (auto& space : s.spaces) {
        if (space != nullptr && (space->cr3 != AddressSpace::kNone || space.get() == s.space)) change(*space);
    }
}

// The one that has CR3's PCID, or else one to be used for it.
AddressSpace& space_for(State& s, u64 pcid) {
    std::unique_ptr<AddressSpace>* oldest = nullptr;
    for (auto& space : s.spaces) {
        if (space != nullptr && space->holds(pcid)) return *space;
        if (space.get() == s.space) continue;
        if (oldest == nullptr || (*oldest != nullptr && (space == nullptr || space->left_at < (*oldest)->left_at))) {
            oldest = &space;
        }
    }
    if (*oldest == nullptr) *oldest = std::make_unique<AddressSpace>();
    return **oldest;
}

}  // namespace

void enter_address_space(State& s, bool keep) {
    const u64 cr3 = s.cpu.control.cr3;
    const bool pcids = (s.cpu.control.cr4 & cr4::PCIDE) != 0 && s.use.spaces;
    if (pcids && !s.space->holds(cr3 & AddressSpace::kPcidMask)) {
        // Links and recent blocks hold for one base and limit of CS as well, and who comes back is 64-bit code.
        s.space->map_generation = s.code64() ? s.map_generation : 0;
        s.space->left_at = ++s.address_space_changes;
        s.space = &space_for(s, cr3 & AddressSpace::kPcidMask);
        privilege_changed(s);
        s.blocks->address_space_changed(s);
    }
    // A PCID with other tables than before may go on with what is known of the old ones. Nobody could rely on that.
    if (!pcids || !keep || s.space->cr3 != cr3) flush_space(s, *s.space);
    s.space->cr3 = cr3;
}

void flush_tlb(State& s) {
    for_each_space(s, [&](AddressSpace& space) {
        flush_space(s, space);
        space.cr3 = AddressSpace::kNone;
    });
    s.space->cr3 = s.cpu.control.cr3;
}

void flush_tlb_of(State& s, u64 pcid) {
    for_each_space(s, [&](AddressSpace& space) {
        if (is_of(s, space, pcid)) flush_space(s, space);
    });
}

void flush_tlb_page(State& s, u64 linear) {
    for_each_space(s, [&](AddressSpace& space) {
        if (&space == s.space || space.global_pages_used) flush_page(s, space, linear);
    });
}

void flush_faulting_page(State& s, u64 linear) {
    s.space->tables.forget(linear);
    flush_entries(s, *s.space, linear);
}

void flush_tlb_page_of(State& s, u64 pcid, u64 linear) {
    for_each_space(s, [&](AddressSpace& space) {
        if (is_of(s, space, pcid)) flush_page(s, space, linear);
    });
}

}  // namespace dualvm::interp
