#include "block_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

#include "decoder.h"
#include "fast/branch.h"
#include "memory.h"
#include "translate.h"

namespace dualvm::interp {

namespace {

constexpr unsigned kMaxInstructions = 64;
constexpr std::size_t kLargestBlock =
    sizeof(Block) + (kMaxInstructions + 1) * sizeof(Op) + kMaxInstructions * sizeof(Insn) + 64;
// Where a fetch finds neither RAM nor ROM the bus floats: all ones.
constexpr auto kFloatingBus = [] {
    std::array<u8, kPageSize> ones{};
    ones.fill(0xff);
    return ones;
}();

// Takes the place of a forgotten block's first operation: links to the block come back to the engine.
void forgotten(DUALVM_ARGUMENTS) {
    const Block* block = block_of(op);
    s->cpu.general.rip = block->rip;
    fast::leave(s, op, ticks + block->count, flags, Leave::Lookup);
}

// Bits of the 64-byte lines of a page that [first, first + size) touches; both within the page.
u64 line_mask(u64 first, u64 size) {
    const u64 from = first / 64, to = (first + size - 1) / 64;
    return (~u64{0} >> (63 - (to - from))) << from;
}

// Is there code at `offset` of CS: within its limit or, in 64-bit mode, at a canonical address?
bool holds_code(const State& s, bool code64, u64 offset) {
    return code64 ? sign_extend(offset & 0xffffffffffff, 6) == offset : offset <= s.cpu.segments.seg[CS].limit;
}

// Where code goes on behind the page of `linear`.
u64 next_code_page(u64 linear, u32 mode) {
    const u64 next = (linear | kPageMask) + 1;
    return (mode & ModeKey::kCodeMask) == ModeKey::kCode64 ? next : next & 0xffffffff;
}

bool is_device_memory(const State& s, u64 physical) {
    const MemoryRegion* region = s.machine->vmem().find(physical);
    return region != nullptr && region->device;
}

}  // namespace

BlockCache::BlockCache(State& state, u64 bytes)
    : decoder_(std::make_unique<Decoder>()),
      decoded_(kMaxInstructions),
      arena_bytes_(std::max<u64>(bytes, kLargestBlock)) {
    arena_ = std::unique_ptr<u8, FreeDeleter>(static_cast<u8*>(std::malloc(arena_bytes_)));
    // Zeros that nobody writes: a short run reaches few of these pages.
    buckets_ = std::unique_ptr<Block*, FreeDeleter>(static_cast<Block**>(std::calloc(kBuckets, sizeof(Block*))));
    if (!arena_ || !buckets_) throw std::bad_alloc();
    state.recent = recent_.get();
    u64 pages = VMem::kHoleEnd / kPageSize;  // a device's memory can come to lie anywhere below
    for (const MemoryRegion& r : state.machine->vmem().regions()) pages = std::max(pages, r.end() / kPageSize);
    // Mapped: of this table only the parts that are used cost memory, and time. (Where calloc is a sanitizer's it fills
    // all of it.)
    pages_ = pages;
    const std::size_t size = pages * sizeof(PageInfo);
    void* mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    page_info_ = std::unique_ptr<PageInfo, Unmapper>(static_cast<PageInfo*>(mapped), {size});
}

void BlockCache::Unmapper::operator()(void* p) const { munmap(p, bytes); }

BlockCache::~BlockCache() = default;

void BlockCache::refresh_mode(State& s) {
    privilege_changed(s);
    u32 mode = s.user ? ModeKey::kUser : 0;
    const auto& seg = s.cpu.segments.seg;
    if (s.code64()) {
        mode |= ModeKey::kCode64 | ModeKey::kFlat;
    } else {
        mode |= seg[CS].has(Segment::DB) ? ModeKey::kCode32 : ModeKey::kCode16;
        auto flat_data = [&](SegmentName name) {
            const Segment& segment = seg[name];
            return segment.base == 0 && segment.limit == 0xffffffff && segment.has(Segment::P) &&
                   (segment.type() & 0xe) == 2 && !segment.has(Segment::Unusable);
        };
        const bool flat_code = seg[CS].base == 0 && seg[CS].limit == 0xffffffff && (seg[CS].type() & 2) != 0;
        if (s.protected_mode() && !s.virtual8086() && flat_code && flat_data(DS) && flat_data(ES) && flat_data(SS)) {
            mode |= ModeKey::kFlat;
            if (seg[SS].has(Segment::DB)) mode |= ModeKey::kStack32;
        }
    }
    const bool alignment_checks =
        s.user && (s.cpu.control.cr0 & cr0::AM) != 0 && (s.cpu.general.rflags & rflags::AC) != 0;
    if (!alignment_checks) mode |= ModeKey::kPlain;
    const bool sse = (s.cpu.control.cr0 & (cr0::EM | cr0::TS)) == 0 && (s.cpu.control.cr4 & cr4::OSFXSR) != 0;
    if (sse) mode |= ModeKey::kSse;
    if ((s.cpu.control.cr0 & (cr0::EM | cr0::TS)) == 0 && s.fx.masks_x87()) mode |= ModeKey::kX87;
    if (sse && s.fx.masks_sse()) mode |= ModeKey::kSseMasked;
    mode_ = mode;
    // The same RIP means another place when CS has another base, and may be none with another limit.
    const u64 limit = s.code64() ? 0xffffffff : seg[CS].limit;  // 64-bit code has none
    if (s.cpu.code_base() != cs_base_ || limit != cs_limit_) {
        cs_base_ = s.cpu.code_base();
        cs_limit_ = limit;
        mapping_changed(s);
    }
    refresh_key(s);
}

bool BlockCache::translate_fetch(State& s, u64 linear, u64& physical) {
    FetchEntry& e = fetch_tlb_[(linear / kPageSize) % kFetchTlb];
    const u64 page = linear & ~kPageMask, key = s.block_key & ~u64{ModeKey::kStep};
    if (e.page != page || e.key != key) {
        u64 found = 0;
        if (!translate(s, page | (linear & kPageMask), Access::Execute, s.user, found)) return false;
        e = {.page = page, .key = key, .physical = found & ~kPageMask};
        s.space->executed_pages.add(page);
        s.space->executed_regions.add(page);
    }
    physical = e.physical | (linear & kPageMask);
    return true;
}

Block* BlockCache::find(State& s) {
    const u64 rip = s.cpu.general.rip;
    if (Block* recent = find_recent(s, rip)) return recent;

    const u64 linear = cs_base_ + rip;
    const bool code64 = (mode_ & ModeKey::kCodeMask) == ModeKey::kCode64;
    if (!holds_code(s, code64, rip)) {
        s.raise(GP, 0);
        return nullptr;
    }
    u64 physical = 0;
    if (!translate_fetch(s, code64 ? linear : linear & 0xffffffff, physical)) return nullptr;

    Block*& bucket = buckets_.get()[bucket_index(physical, rip, mode_)];
    for (Block** link = &bucket; *link != nullptr;) {
        Block* block = *link;
        if (block->valid && block->physical == physical && block->rip == rip && block->mode == mode_ &&
            still_fits(s, *block, linear)) {
            remember(s, block);
            return block;
        }
        if (block->valid) {
            link = &block->next_in_bucket;
        } else {
            *link = block->next_in_bucket;
        }
    }
    Block* block = build(s, physical);
    if (block == nullptr) return nullptr;
    Block*& head = buckets_.get()[bucket_index(physical, rip, mode_)];  // building may have emptied the cache
    block->next_in_bucket = head;
    head = block;
    remember(s, block);
    return block;
}

void BlockCache::remember(const State& s, Block* block) {
    if (!block->looked_at_each_time() && s.use.indirect) (*recent_)[recent_index(block->rip)] = {s.block_key, block};
}

// What the key does not say: where an instruction's second page is now, the limit of a segment that is not flat, and
// whether a device has written to its memory.
bool BlockCache::still_fits(State& s, Block& block, u64 linear) {
    bool fits = !block.device;
    if (block.crosses()) {
        u64 second = 0;
        const Fault kept = s.fault;
        const u64 cr2 = s.cpu.control.cr2;
        const u64 next = next_code_page(linear, block.mode);
        fits = fits && translate_fetch(s, next, second) && (second & ~kPageMask) == block.second_page;
        s.fault = kept;
        s.cpu.control.cr2 = cr2;
    }
    if ((mode_ & ModeKey::kFlat) == 0) fits = fits && block.rip + block.bytes - 1 <= s.cpu.segments.seg[CS].limit;
    if (!fits) forget(block);
    return fits;
}

void* BlockCache::allocate(std::size_t bytes) {
    bytes = (bytes + 15) & ~std::size_t{15};
    void* p = arena_.get() + arena_used_;
    arena_used_ += bytes;
    return p;
}

namespace {

unsigned code_bits(u32 mode) {
    switch (mode & ModeKey::kCodeMask) {
        case ModeKey::kCode64: return 64;
        case ModeKey::kCode32: return 32;
        default: return 16;
    }
}

}  // namespace

// Where code is rewritten each time before it runs, or left behind each of its instructions (for a device, say) and
// never seen again, most of what is decoded is in vain. A page of which blocks are built again and again gets short
// ones. Elsewhere the count does not get far before it is halved.
unsigned BlockCache::longest_block(u64 physical) {
    if ((mode_ & ModeKey::kStep) != 0) return 1;
    u16& built = built_of_late_[physical / kPageSize % built_of_late_.size()];
    ++built;
    if (--until_halved_ == 0) {
        until_halved_ = kBuiltOfLate;
        for (u16& each : built_of_late_) each /= 2;
    }
    return built < kBuiltOfLate / 4 ? kMaxInstructions : built < kBuiltOfLate / 2 ? 8 : 2;
}

// Decodes from `physical` on. Returns nullptr with the fault if the first instruction cannot be fetched or decoded; a
// later one that cannot just ends the block.
Block* BlockCache::build(State& s, u64 physical) {
    if (arena_bytes_ - arena_used_ < kLargestBlock) make_room(s);
    if (decoder_->full()) {
        make_room(s);
        decoder_->forget();
    }

    const u64 rip = s.cpu.general.rip, linear = cs_base_ + rip;
    const unsigned bits = code_bits(mode_);
    const u64 rip_mask = bits == 64 ? ~u64{0} : 0xffffffff;
    const u8* page = s.machine->vmem().host_page(physical & ~kPageMask);
    const bool floating = page == nullptr;
    if (floating) page = kFloatingBus.data();
    bool device = is_device_memory(s, physical);

    unsigned count = 0;
    u64 offset = physical & kPageMask, bytes = 0, second_page = Block::kNone;
    const unsigned most = device ? 1 : longest_block(physical);
    while (count < most && offset < kPageSize) {
        Insn& insn = decoded_[count];
        const u64 here = (rip + bytes) & rip_mask;
        const auto available = static_cast<std::size_t>(std::min<u64>(15, kPageSize - offset));
        std::array<u8, 15> buffer{};
        std::copy_n(page + offset, available, buffer.begin());
        DecodeResult result = decoder_->decode({buffer.data(), available}, bits, here, insn);
        if (result == DecodeResult::NeedMore) {
            if (count != 0) break;  // it gets a block of its own
            // What lies beyond the segment is not fetched, whatever its page is like (SDM vol. 3A, 5.3 and table 6-2).
            if (!holds_code(s, bits == 64, here + available)) {
                s.raise(GP, 0);
                return nullptr;
            }
            u64 second = 0;
            if (!translate_fetch(s, next_code_page(linear, mode_), second)) return nullptr;
            second_page = second & ~kPageMask;
            device = device || is_device_memory(s, second_page);
            const u8* next_page = s.machine->vmem().host_page(second_page);
            if (next_page == nullptr) next_page = kFloatingBus.data();
            std::copy_n(next_page, 15 - available, buffer.begin() + static_cast<std::ptrdiff_t>(available));
            result = decoder_->decode(buffer, bits, here, insn);
        }
        if (result == DecodeResult::Ok && bits != 64 && here + insn.length - 1 > s.cpu.segments.seg[CS].limit) {
            result = DecodeResult::TooLong;  // the same #GP(0): it runs out of its segment
        }
        if (result != DecodeResult::Ok) {
            if (count != 0) break;
            if (result == DecodeResult::TooLong) {
                s.raise(GP, 0);
            } else {
                s.raise(UD);
            }
            return nullptr;
        }
        ++count;
        bytes += insn.length;
        offset += insn.length;
        if (second_page != Block::kNone || ends_block(insn)) break;
    }

    auto* block = static_cast<Block*>(allocate(sizeof(Block) + (count + 1) * sizeof(Op)));
    *block = Block{};
    auto* kept = static_cast<Insn*>(allocate(count * sizeof(Insn)));
    std::copy_n(decoded_.begin(), count, kept);
    block->rip = rip;
    block->physical = physical;
    block->second_page = second_page;
    block->mode = mode_;
    block->device = device;
    block->bytes = static_cast<u16>(bytes);
    block->count = static_cast<u8>(count);
    block->insns = kept;
    if ((mode_ & ModeKey::kStep) == 0) translate_block(*block, cs_base_, s.use);
    count_event(built_);
    if (!floating && !device) {
        const u64 in_first = std::min(bytes, kPageSize - (physical & kPageMask));
        note_code(s, *block, physical, in_first);
        if (block->crosses()) note_code(s, *block, second_page, bytes - in_first);
    }
    return block;
}

// Stores to the page must be seen from now on.
void BlockCache::drop_store_entries(State& s, u64 page, PageInfo& info) {
    const u64 host = reinterpret_cast<u64>(s.machine->vmem().host_page(page * kPageSize));
    auto is_there = [&](const TlbEntry& e) { return (e.tag & ~kPageMask) + e.addend == host; };
    // In address spaces that were left, too.
    for (auto& space : s.spaces) {
        if (space == nullptr || info.stored_at == kNowhere) continue;
        for (Tlb& tlb : space->tlbs) {
            if (info.stored_at == kSeveralPlaces) {
                s.did_work(0, tlb.write.forget_if(is_there));
            } else {
                tlb.write.forget_page_if(info.stored_at, is_there);
            }
        }
    }
    info.stored_at = kNowhere;
    s.forget_stack_pages();
}

void BlockCache::note_code(State& s, Block& block, u64 physical, u64 size) {
    const u64 page = physical / kPageSize;
    if (page >= pages_) return;
    PageInfo& info = page_info_.get()[page];
    if (info.code_lines == 0) {
        if (!info.listed) code_pages_.push_back(page);
        info.listed = true;
        drop_store_entries(s, page, info);
    }
    info.code_lines |= line_mask(physical & kPageMask, size);
    if (physical == block.physical) {  // not by page: its second one may be the same memory
        block.next_in_page = info.blocks;
        info.blocks = &block;
    } else {
        block.next_in_second_page = info.crossing;
        info.crossing = &block;
    }
}

void BlockCache::forget(Block& block) {
    if (!block.valid) return;
    block.valid = false;
    block.ops()->run = forgotten;
    RecentBlock& r = (*recent_)[recent_index(block.rip)];
    if (r.block == &block) r = {};
    count_event(forgotten_);
}

void BlockCache::written(State& s, u64 physical, u64 size) {
    if (size / kPageSize > code_pages_.size()) {  // fewer pages have code than were written
        const std::vector<u64> pages = code_pages_;
        for (const u64 page : pages) {
            const u64 at = page * kPageSize;
            if (at + kPageSize > physical && at < physical + size && page_has_code(at)) forget_range(s, at, kPageSize);
        }
        return;
    }
    for (u64 done = 0; done < size;) {
        const u64 at = physical + done, n = std::min(size - done, kPageSize - (at & kPageMask));
        if (page_has_code(at) && (page_info_.get()[at / kPageSize].code_lines & line_mask(at & kPageMask, n)) != 0) {
            forget_range(s, at, n);
        }
        done += n;
    }
}

void BlockCache::forget_range(State& s, u64 physical, u64 size) {
    PageInfo& info = page_info_.get()[physical / kPageSize];
    const u64 page_base = physical & ~kPageMask;
    u64 lines = 0, looked_at = 0;
    // `part(block)` says how much of the block lies in this page, from where on.
    auto forget_in = [&](Block*& list, Block* Block::*next, auto part) {
        for (Block** link = &list; *link != nullptr; ++looked_at) {
            Block& block = **link;
            const auto [from, bytes] = part(block);
            if (block.valid && from < physical + size && physical < from + bytes) {
                forget(block);
                s.code_written = true;
            }
            if (block.valid) {
                lines |= line_mask(from & kPageMask, bytes);
                link = &(block.*next);
            } else {
                *link = block.*next;
            }
        }
    };
    forget_in(info.blocks, &Block::next_in_page, [&](const Block& block) {
        return std::pair{block.physical, std::min<u64>(block.bytes, page_base + kPageSize - block.physical)};
    });
    forget_in(info.crossing, &Block::next_in_second_page, [&](const Block& block) {
        return std::pair{page_base, block.bytes - (kPageSize - (block.physical & kPageMask))};
    });
    s.did_work(0, looked_at);
    info.code_lines = lines;
}

// A number that no link and no recent result has.
u32 BlockCache::new_generation(State& s) {
    if (last_generation_ == ~u32{0}) {  // the numbers come round: old ones must not seem new
        last_generation_ = 0;
        forget_blocks();
        fetch_tlb_.fill({});
        for (auto& space : s.spaces) {
            if (space != nullptr) space->map_generation = 0;
        }
    }
    return ++last_generation_;
}

void BlockCache::forget_blocks() {
    for (u64 page : code_pages_) {
        PageInfo& info = page_info_.get()[page];
        const u64 stored_at = info.stored_at;  // the TLBs stay as they are
        info = {};
        info.stored_at = stored_at;
    }
    code_pages_.clear();
    if (arena_used_ != 0) {  // or nothing has been built since the last time
        std::fill_n(buckets_.get(), kBuckets, nullptr);
        recent_->fill({});
        arena_used_ = 0;
    }
    count_event(emptied_);
}

void BlockCache::make_room(State& s) {
    forget_blocks();
    s.map_generation = new_generation(s);
    refresh_key(s);
}

void BlockCache::forget_all(State& s) {
    make_room(s);
    built_of_late_.fill(0);  // other code now, perhaps
    until_halved_ = kBuiltOfLate;
}

void BlockCache::add_statistics(std::map<std::string, u64>& named) const {
    named["blocks built"] = built_;
    named["blocks forgotten (code written)"] = forgotten_;
    named["block cache emptied"] = emptied_;
    named["block cache bytes"] = arena_used_;
}

}  // namespace dualvm::interp
