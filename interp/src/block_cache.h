// The block cache: decoded code by guest-physical address and mode.
//
// A change of CR3 costs it nothing; a store into a page with code is seen (such pages never enter the write TLB) and
// forgets the blocks it hits. Blocks live in one arena: when that is full, all are forgotten.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "block.h"

namespace dualvm::interp {

class Decoder;

class BlockCache {
public:
    BlockCache(State& state, u64 bytes);
    ~BlockCache();

    // The block at CpuFile's RIP in the present mode. nullptr: the fetch or the decoding faulted (State::fault).
    Block* find(State& s);

    // The same for one instruction, which is all that the block has: its operations are not for running.
    Block* find_instruction(State& s) {
        mode_ |= ModeKey::kStep;
        refresh_key(s);
        Block* block = find(s);
        mode_ &= ~ModeKey::kStep;
        refresh_key(s);
        return block;
    }

    // Works out the ModeKey again: after anything that may have changed CS, SS, CPL, CR0, EFER or RFLAGS.AC.
    void refresh_mode(State& s);

    // Linear -> physical has changed for pages with code.
    void mapping_changed(State& s) {
        s.map_generation = new_generation(s);
        refresh_key(s);
    }
    // State::space is another one: recent results are those found there before.
    void address_space_changed(State& s) {
        // Where a code segment may have a base, links hold for it alone.
        const bool as_left = s.code64() && s.space->map_generation != 0;
        s.map_generation = as_left ? s.space->map_generation : new_generation(s);
        refresh_key(s);
    }

    bool page_has_code(u64 physical) const {
        const u64 page = physical / kPageSize;
        return page < pages_ && page_info_.get()[page].code_lines != 0;
    }
    // A TLB lets stores through to this page without anybody seeing them, under this linear address.
    void note_store_entry(u64 physical, u64 linear_page) {
        const u64 page = physical / kPageSize;
        if (page >= pages_) return;
        u64& known = page_info_.get()[page].stored_at;
        known = known == kNowhere || known == (linear_page | kOnePlace) ? linear_page | kOnePlace : kSeveralPlaces;
    }
    // Memory was written: forgets blocks that hold any of it, and says so in State::code_written.
    void written(State& s, u64 physical, u64 size);
    void forget_all(State& s);

    void add_statistics(std::map<std::string, u64>& named) const;

private:
    struct FetchEntry {
        u64 page = 1, key = 0, physical = 0;
    };
    struct PageInfo {
        u64 code_lines;   // 64-byte lines that hold code, one bit each
        bool listed;      // in code_pages_
        Block* blocks;    // those whose first byte lies in this page
        Block* crossing;  // those whose instruction runs over into this page from the one before
        u64 stored_at;    // kOnePlace and the linear page under which a TLB may have an entry for stores; or another:
    };
    static constexpr u64 kNowhere = 0, kOnePlace = 1, kSeveralPlaces = 2;  // kNowhere: what mapping leaves
    struct FreeDeleter {
        void operator()(void* p) const { std::free(p); }
    };
    struct Unmapper {
        std::size_t bytes;
        void operator()(void* p) const;
    };
    static constexpr unsigned kBuiltOfLate = 2048;
    static constexpr std::size_t kFetchTlb = 256, kBucketBits = 15, kBuckets = std::size_t{1} << kBucketBits;

    // Recent results hold under one address map and one mode.
    void refresh_key(State& s) const { s.block_key = u64{s.map_generation} << 32 | mode_; }
    u32 new_generation(State& s);
    void forget_blocks();
    void make_room(State& s);
    // The upper bits of the product, on which all of the three have an effect.
    static std::size_t bucket_index(u64 physical, u64 rip, u32 mode) {
        constexpr u64 kMix = 0x9e3779b97f4a7c15u;
        const u64 mixed = physical ^ (rip * kMix >> 12) ^ (u64{mode} << 52);
        return (mixed * kMix) >> (64 - kBucketBits);
    }
    bool translate_fetch(State& s, u64 linear, u64& physical);
    bool still_fits(State& s, Block& block, u64 linear);
    void remember(const State& s, Block* block);
    Block* build(State& s, u64 physical);
    unsigned longest_block(u64 physical);
    void* allocate(std::size_t bytes);
    void drop_store_entries(State& s, u64 page, PageInfo& info);
    void note_code(State& s, Block& block, u64 physical, u64 size);
    void forget(Block& block);
    void forget_range(State& s, u64 physical, u64 size);

    std::unique_ptr<RecentBlocks> recent_ = std::make_unique<RecentBlocks>();
    u32 mode_ = 0;
    u64 cs_base_ = 0, cs_limit_ = 0;
    std::array<FetchEntry, kFetchTlb> fetch_tlb_{};
    std::unique_ptr<Decoder> decoder_;
    std::vector<Insn> decoded_;  // of the block that is being built
    std::unique_ptr<u8, FreeDeleter> arena_;
    u64 arena_bytes_, arena_used_ = 0;
    std::unique_ptr<Block*, FreeDeleter> buckets_;   // kBuckets of them
    std::unique_ptr<PageInfo, Unmapper> page_info_;  // by physical page
    u64 pages_ = 0;
    std::array<u16, 1024> built_of_late_{};  // blocks, by page
    unsigned until_halved_ = kBuiltOfLate;
    std::vector<u64> code_pages_;  // pages that hold or held code
    u32 last_generation_ = 1;      // of State::map_generation and those of address spaces that were left
    u64 built_ = 0, forgotten_ = 0, emptied_ = 0;
};

}  // namespace dualvm::interp
