// Blocks and their operations: what the threaded interpreter executes.
//
// A block is a run of guest instructions that ends with the first one that may go elsewhere, or at the end of its page.
// Each instruction is one Op: the handler that executes it and what that handler needs, ready to use.
#pragma once

#include <vector>

#include "state.h"

namespace dualvm::interp {

struct Block;

// The hot state travels in the argument registers of every handler: the State, the operation, the instructions left of
// the slice, the arithmetic flags in the host's form (flags.h), and the stack pointer. The last one also stands in
// CpuFile at all times; but each push waits for the push before, and through memory that would take five cycles.
using Handler = void (*)(State* s, const Op* op, i64 ticks, u32 flags, u64 sp);

// The parts of a memory operand's address that are not registers or displacement.
struct Scaling {
    u8 scale;    // shift of the index
    u8 segment;  // SegmentName, where a handler adds a base
};

struct Op {
    Handler run;
    u16 dst, src, base, index;  // byte offsets into State: registers, or State::zero
    union {
        Scaling at;
        u32 link_generation;  // branches to another page: State::map_generation at which the link was made
    };
    u8 length;       // bytes of the instruction
    u8 position;     // index of this Op in its block
    u16 rip_offset;  // address of the instruction minus the block's
    union {
        u64 displacement;
        Block* taken;  // branches: the block they jump to, once it has been there
    };
    union {
        u64 imm;
        Block* fall;  // branches: the block behind, once it has been there
    };
};
static_assert(sizeof(Op) == 40);

// What a block's code depends on beside its bytes: blocks of one mode never run in another.
struct ModeKey {
    // bits 0-1: code size (0: 16, 1: 32, 2: 64 bits)
    static constexpr u32 kCode16 = 0, kCode32 = 1, kCode64 = 2, kCodeMask = 3;
    static constexpr u32 kUser = 4;  // CPL 3: picks the TLB
    static constexpr u32 kFlat =
        8;  // CS, DS, ES, SS are base 0, limit 4 GiB, of the ordinary kinds (always so in 64-bit mode)
    static constexpr u32 kStack32 = 16;
    static constexpr u32 kPlain = 32;  // fast handlers may be used: no alignment checks, no special debugging
    static constexpr u32 kSse = 64;    // SSE instructions do not fault: CR0.EM and TS clear, CR4.OSFXSR set
    static constexpr u32 kX87 = 256;  // neither x87 instructions nor their exceptions fault: the same for CR0, FCW, FSW
    static constexpr u32 kSseMasked = 128;  // nor do their exceptions: MXCSR masks all of them
    static constexpr u32 kStep = 512;       // one instruction, for Interpreter::step(); it has no handlers
};

struct Block {
    static constexpr u64 kNone = ~u64{0};  // no page; 0 is one
    u64 rip = 0;                           // as the guest sees it (EIP in a segment with a base)
    u64 physical = 0;                      // of its first byte
    u64 second_page = kNone;               // physical page of the rest of an instruction that crosses a page
    u32 mode = 0;                          // ModeKey
    u16 bytes = 0;                         // length in guest memory
    u8 count = 0;                          // instructions
    bool valid = true;                     // false: the guest has overwritten its code
    bool device = false;                   // of a device's memory, which the device may write as well
    Block* next_in_page = nullptr;
    Block* next_in_second_page = nullptr;
    Block* next_in_bucket = nullptr;
    const Insn* insns = nullptr;  // `count` of them
    bool crosses() const { return second_page != kNone; }
    // Whoever comes to it has to ask BlockCache::find(): nothing leads straight to it.
    bool looked_at_each_time() const { return crosses() || device; }
    // Behind the block in memory: `count` Ops and one that goes on to the next block.
    Op* ops() { return reinterpret_cast<Op*>(this + 1); }
    const Op* ops() const { return reinterpret_cast<const Op*>(this + 1); }
};

// Where blocks were found lately, by address: for returns and indirect jumps. An entry holds under one address map and
// one mode, which its key says.
struct RecentBlock {
    u64 key = 0;  // BlockCache::refresh_key(); 0: empty
    Block* block = nullptr;
};
using RecentBlocks = std::array<RecentBlock, kRecentBlocks>;

inline std::size_t recent_index(u64 rip) { return (rip ^ (rip >> 12)) % kRecentBlocks; }

// The block for `rip`, if it was found there lately under the present map and mode.
inline Block* find_recent(const State& s, u64 rip) {
    const RecentBlock& r = (*s.recent)[recent_index(rip)];
    if (__builtin_expect(r.key != s.block_key, 0)) return nullptr;
    if (__builtin_expect(r.block->rip != rip, 0)) return nullptr;
    return r.block;
}

inline Block* block_of(const Op* op) {
    return const_cast<Block*>(reinterpret_cast<const Block*>(op - op->position)) - 1;
}
inline const Insn& insn_of(const Op* op) { return block_of(op)->insns[op->position]; }
inline u64 rip_of(const Op* op) { return block_of(op)->rip + op->rip_offset; }
inline u64 next_rip_of(const Op* op) {
    const u64 next = rip_of(op) + op->length;
    return (block_of(op)->mode & ModeKey::kCodeMask) == ModeKey::kCode64 ? next : next & 0xffffffff;
}
// Where a relative branch goes.
inline u64 branch_target(const Insn& insn, u64 next_rip) {
    const u64 target = next_rip + insn.operand[0].imm;
    return insn.long_mode ? target : target & 0xffffffff;
}
inline u64 target_of(const Op* op) { return branch_target(insn_of(op), next_rip_of(op)); }

}  // namespace dualvm::interp
