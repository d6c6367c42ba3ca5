// The software TLB: where the host has the guest's pages.
#pragma once

#include <array>
#include <bit>
#include <bitset>
#include <vector>

#include "dualvm/vmem.h"

namespace dualvm::interp {

struct TlbEntry {
    // The linear address of the page's last byte: never 0, which it is where nothing is remembered.
    u64 tag = 0;
    u64 addend = 0;  // host address = linear address + addend

    static constexpr u64 tag_of(u64 linear) { return linear | kPageMask; }
};

// The pages of one privilege that may be read, or written, without asking anybody: direct-mapped. It reaches 256 MiB,
// so that two arrays whose distance is a power of two do not push each other out for ever; of its memory only what lies
// around entries in use is ever touched.
class TlbTable {
public:
    static constexpr std::size_t kEntries = 65536;

    static constexpr std::size_t index(u64 linear) { return (linear / kPageSize) % kEntries; }

    const TlbEntry* entries() const { return entries_.data(); }

    // The entry of the page that `linear` lies in, or nullptr.
    const TlbEntry* find(u64 linear) const {
        const TlbEntry& entry = entries_[index(linear)];
        return entry.tag == TlbEntry::tag_of(linear) ? &entry : nullptr;
    }

    void remember(u64 linear, u64 addend) {
        const std::size_t i = index(linear);
        entries_[i] = {.tag = TlbEntry::tag_of(linear), .addend = addend};
        filled_chunks_[i / kChunk / 64] |= u64{1} << (i / kChunk % 64);
        if (filled_count_ < filled_.size()) filled_[filled_count_] = static_cast<u16>(i);
        if (filled_count_ <= filled_.size()) ++filled_count_;
    }

    // Forget what `drop` says: of the entry that the page of `linear` has, and of all. Returns how many were looked at.
    template <class Drop>
    void forget_page_if(u64 linear, Drop drop) {
        TlbEntry& entry = entries_[index(linear)];
        if (entry.tag == TlbEntry::tag_of(linear) && drop(entry)) entry = {};
    }
    template <class Drop>
    u64 forget_if(Drop drop) {
        u64 looked_at = 0;
        for_each_filled([&](TlbEntry& e) {
            ++looked_at;
            if (e.tag != 0 && drop(e)) e = {};
        });
        return looked_at;
    }
    void forget_page(u64 linear) {
        forget_page_if(linear, [](const TlbEntry&) { return true; });
    }
    // All pages of the 4 MiB around `linear`, which no large page goes beyond: where they are lies together. Returns
    // how many entries were looked at.
    u64 forget_region(u64 linear) {
        const std::size_t word = index(linear) / (kChunk * 64);
        u64 looked_at = 0, others = 0;
        for (u64 chunks = filled_chunks_[word]; chunks != 0; chunks &= chunks - 1) {
            const auto bit = static_cast<unsigned>(std::countr_zero(chunks));
            for (std::size_t i = 0; i < kChunk; ++i) {
                TlbEntry& entry = entries_[(word * 64 + bit) * kChunk + i];
                if (((entry.tag ^ linear) >> kRegionBits) == 0) entry = {};
                if (entry.tag != 0) others |= u64{1} << bit;
            }
            looked_at += kChunk;
        }
        filled_chunks_[word] = others;
        return looked_at;
    }
    // A guest that changes address spaces often has filled few entries since the last time: only these are emptied.
    void flush() {
        for_each_filled([](TlbEntry& e) { e = {}; });
        filled_count_ = 0;
        filled_chunks_ = {};
    }

private:
    static constexpr std::size_t kChunk = 16;
    static constexpr unsigned kRegionBits = 22;
    static_assert(kChunk * 64 * kPageSize == u64{1} << kRegionBits);

    // Calls `change` with every entry that is filled, and maybe with some that are empty.
    template <class Change>
    void for_each_filled(Change change) {
        if (filled_count_ <= filled_.size()) {
            for (unsigned i = 0; i < filled_count_; ++i) change(entries_[filled_[i]]);
            return;
        }
        for (std::size_t word = 0; word < filled_chunks_.size(); ++word) {
            for (u64 chunks = filled_chunks_[word]; chunks != 0; chunks &= chunks - 1) {
                const std::size_t chunk = word * 64 + static_cast<unsigned>(std::countr_zero(chunks));
                for (std::size_t i = 0; i < kChunk; ++i) change(entries_[chunk * kChunk + i]);
            }
        }
    }

    std::vector<TlbEntry, ZeroedAllocator<TlbEntry>> entries_ =
        std::vector<TlbEntry, ZeroedAllocator<TlbEntry>>(kEntries);
    std::array<u16, 192> filled_{};  // indices, until there are too many; then chunks of entries
    unsigned filled_count_ = 0;
    std::array<u64, kEntries / kChunk / 64> filled_chunks_{};
};

struct Tlb {
    TlbTable read, write;  // a page that may only be read is not in `write`
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
