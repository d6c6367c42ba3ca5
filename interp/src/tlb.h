// The software TLB: where the host has the guest's pages.
#pragma once

#include <array>
#include <bitset>

#include "dualvm/types.h"

namespace dualvm::interp {

struct TlbEntry {
    // Not page-aligned, and not so by its upper bits alone: never equal to a page's address, with or without the four
    // low bits of what is looked for (host_to_read_aligned).
    static constexpr u64 kInvalid = 0x800;
    u64 tag = kInvalid;  // linear address of the page
    u64 addend = 0;      // host address = linear address + addend
};

// Direct-mapped, one for each privilege; a page that may only be read has no entry in `write`.
struct Tlb {
    static constexpr unsigned kEntries = 1024;
    std::array<TlbEntry, kEntries> read{}, write{};

    static std::size_t index(u64 linear) { return (linear / kPageSize) % kEntries; }

    void remember(std::array<TlbEntry, kEntries>& entries, u64 page, u64 addend) {
        entries[index(page)] = {.tag = page, .addend = addend};
        if (filled_count_ <= filled_.size()) {
            if (filled_count_ < filled_.size()) filled_[filled_count_] = static_cast<u16>(index(page));
            ++filled_count_;
        }
    }

    // A guest that changes address spaces often has filled few entries since the last time: only these are emptied.
    void flush() {
        if (filled_count_ > filled_.size()) {
            read.fill({});
            write.fill({});
        } else {
            for (unsigned i = 0; i < filled_count_; ++i) read[filled_[i]] = write[filled_[i]] = {};
        }
        filled_count_ = 0;
    }

    // Calls `change` with every entry for stores, and maybe with some that are empty.
    template <class Change>
    void for_each_store_entry(Change change) {
        if (filled_count_ > filled_.size()) {
            for (TlbEntry& e : write) change(e);
        } else {
            for (unsigned i = 0; i < filled_count_; ++i) change(write[filled_[i]]);
        }
    }

    // Drops what `drop` says of an entry's linear page.
    template <class Drop>
    void flush_where(Drop drop) {
        for (auto* entries : {&read, &write}) {
            for (TlbEntry& e : *entries) {
                if (e.tag != TlbEntry::kInvalid && drop(e.tag)) e = {};
            }
        }
    }

private:
    std::array<u16, 192> filled_{};  // indices, until there are too many
    unsigned filled_count_ = 0;
};

// Where the lower tables of a walk are, with the rights that the entries on the way there leave: the paging-structure
// caches of SDM vol. 3A, 4.10.3. They go with the TLB, and all of them with every INVLPG.
struct TableCache {
    struct Entry {
        u64 tag = ~u64{0};  // linear address >> shift of the level above
        u64 table = 0;      // physical
        bool writable = false, user = false, no_execute = false;
    };
    static constexpr std::size_t kEntries = 64;

    // Of the tables that entries at `shift` (21: directory entries, 30: PDPT entries) point to, the one for `linear`,
    // if its tag says so.
    const Entry& at(unsigned shift, u64 linear) const { return (*below(shift))[(linear >> shift) % kEntries]; }
    void remember(unsigned shift, u64 linear, const Entry& entry) {
        (*below(shift))[(linear >> shift) % kEntries] = entry;
        empty_ = false;
    }
    void forget(u64 linear) {
        for (const unsigned shift : {21u, 30u}) (*below(shift))[(linear >> shift) % kEntries] = {};
    }
    void flush() {
        if (!empty_) page_tables_ = directories_ = {};
        empty_ = true;
    }

private:
    using Entries = std::array<Entry, kEntries>;
    const Entries* below(unsigned shift) const { return shift == 21 ? &page_tables_ : &directories_; }
    Entries* below(unsigned shift) { return shift == 21 ? &page_tables_ : &directories_; }

    Entries page_tables_{}, directories_{};
    bool empty_ = true;
};

// A set of pages that may hold a few more than were put in: for "has this page been used since?", where a wrong yes
// costs time only.
class PageFilter {
public:
    explicit PageFilter(unsigned page_bits) : page_bits_(page_bits) {}
    void add(u64 address) { bits_.set(index(address)); }
    bool may_have(u64 address) const { return bits_.test(index(address)); }
    void clear() { bits_.reset(); }

private:
    static constexpr std::size_t kBits = 1024;
    std::size_t index(u64 address) const {
        const u64 page = address >> page_bits_;
        return (page ^ (page >> 10)) % kBits;
    }
    std::bitset<kBits> bits_;
    unsigned page_bits_;
};

}  // namespace dualvm::interp
