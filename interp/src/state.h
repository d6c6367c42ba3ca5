// State: what the interpreter works on. CpuFile, with what makes it fast: flags in the host's form, TLBs, the fault in
// flight. The threaded handlers of the fast path and the readable reference implementations share it.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "address_space.h"
#include "dualvm/machine.h"
#include "fx_image.h"
#include "insn.h"
#include "instrumentation.h"
#include "optimisations.h"

namespace dualvm::interp {

// Exception vectors (SDM vol. 3A, table 6-1).
enum Vector : u8 {
    DE = 0,
    DB = 1,
    NMI = 2,
    BP = 3,
    OF = 4,
    BR = 5,
    UD = 6,
    NM = 7,
    DF = 8,
    TS = 10,
    NP = 11,
    SS_ = 12,
    GP = 13,
    PF = 14,
    MF = 16,
    AC = 17,
    MC = 18,
    XM = 19,
};

struct Fault {
    u8 vector = 0;
    bool has_error_code = false;
    u32 error_code = 0;
};

enum class Access : u8 { Read, Write, Execute };

struct Block;
struct Op;
struct RecentBlock;
class BlockCache;
inline constexpr std::size_t kRecentBlocks = 4096;

// Why a chain of handlers was left. State::op says where.
enum class Leave : u8 {
    Lookup,  // CpuFile's RIP says where to go on
    Again,   // the same: at a repeated string instruction that has elements left
    Link,    // the same, and State::op's link can be set so that the way is shorter next time
    Budget,  // the slice does not hold the next block: RIP is at its start
    Fault,   // State::fault, raised by the instruction at State::op
    Halt,
};

struct State {
    // First, so that handlers reach general registers by a one-byte displacement.
    CpuFile cpu;
    u64 zero = 0;  // what "no base" and "no index" point at
    static constexpr u16 kZeroOffset = sizeof(CpuFile);

    FxImage fx;  // x87, MMX and SSE state: in the place of cpu.fpu while the interpreter runs
    static constexpr u16 kFxOffset = (kZeroOffset + sizeof(u64) + alignof(FxImage) - 1) & ~(alignof(FxImage) - 1);

    // While a chain of handlers runs, the host's own MXCSR may be the guest's (fast/mxcsr.h); fx.mxcsr is then stale.
    bool mxcsr_in_host = false;
    u32 host_mxcsr = 0;  // to go back to
    // The same for the x87 unit: FCW, FSW, the tags and the registers, but not the pointers. Then MXCSR is there, too.
    bool x87_in_host = false;

    Tlb* tlb = nullptr;                                        // the one of the current privilege
    const TlbEntry *tlb_read = nullptr, *tlb_write = nullptr;  // its tables, for handlers
    // The TLB entries that the stack's pages were found in last: PUSH and CALL, POP and RET look here first.
    TlbEntry stack_write, stack_read;
    const std::array<RecentBlock, kRecentBlocks>* recent = nullptr;  // see block.h
    u64 block_key = 0;       // under which blocks are found: map_generation and mode
    u32 map_generation = 1;  // another with every change of linear -> physical: links across pages check it
    u64 insn_rip = 0;        // of the instruction that runs, for reference implementations
    Fault fault{};           // valid after Flow::Fault

    // Written when a chain of handlers is left.
    u32 flags = 0;           // arithmetic flags, in the host's form (flags.h)
    i64 ticks = 0;           // instructions left of the slice
    const Op* op = nullptr;  // where it was left
    Leave leave_reason{};
    bool link_taken = false;      // Leave::Link: it is the `taken` link, else `fall`
    const Op* next_op = nullptr;  // without threaded dispatch: the operation to do next

    bool user = false;          // CPL 3
    bool code_written = false;  // a store hit cached code: the running block may be stale
    bool io_done = false;       // a device was accessed: interrupts and attention must be looked at

    bool watching_data = false;  // data accesses are told to note_data_access()
    u64 watched_data_hits = 0;   // DR6 bits of the data breakpoints that the instruction has hit
    u64 held_data_hits = 0;      // those of a load of SS: they wait for the end of the next instruction

    Optimisations use;

    Machine* machine = nullptr;
    BlockCache* blocks = nullptr;
    EngineStatistics statistics;
    u64 tsc_offset = 0;                 // time stamp counter minus what it counts
    bool tsc_is_hosts = false;          // it counts what the host's does; else nanoseconds of the machine's clock
    u64 instructions_of_others = 0;     // on the machine's clock before this engine began
    u64 instructions_before_slice = 0;  // executed before this slice began
    bool in_chain = false;              // `ticks` is what handlers keep: the rest of the block is already taken off
    i64 slice = 0;                      // instructions given to this slice
    // And so much of work that has no bound by instruction: see did_work(). Without a slice there is no bound.
    i64 work_left = i64{1} << 62;
    // The current one is always there, the others once they are needed.
    std::array<std::unique_ptr<AddressSpace>, kAddressSpaces> spaces{std::make_unique<AddressSpace>()};
    AddressSpace* space = spaces.front().get();
    u64 address_space_changes = 0;

    // Sets the fault and gives the Flow to return: `return state.raise(GP, 0);`
    Flow raise(Vector vector) {
        fault = {.vector = vector, .has_error_code = false, .error_code = 0};
        return Flow::Fault;
    }
    Flow raise(Vector vector, u32 error_code) {
        fault = {.vector = vector, .has_error_code = true, .error_code = error_code};
        return Flow::Fault;
    }

    // Elements of strings moved one by one, and sixteen times as many things that are looked at in a row: some 20 ns
    // each. When none is left the slice ends. An instruction that does such work ends its block then (Flow::Jump).
    void did_work(u64 one_by_one, u64 in_a_row) { work_left -= static_cast<i64>(one_by_one + in_a_row / 16); }

    // Whenever an entry of a TLB goes, and when the other TLB comes into use.
    void forget_stack_pages() { stack_write = stack_read = {}; }

    bool protected_mode() const { return (cpu.control.cr0 & cr0::PE) != 0; }
    bool long_mode_active() const { return (cpu.control.efer & efer::LMA) != 0; }
    bool virtual8086() const { return (cpu.general.rflags & rflags::VM) != 0 && protected_mode(); }
    bool code64() const { return long_mode_active() && cpu.segments.seg[CS].has(Segment::L); }
};

// --- general registers, by operand size
// -------------------------------------------------------------------------------

inline u64 read_gpr(const State& s, unsigned reg, unsigned size, bool high8 = false) {
    const u64 value = s.cpu.general.gpr[reg];
    switch (size) {
        case 1: return high8 ? (value >> 8) & 0xff : value & 0xff;
        case 2: return value & 0xffff;
        case 4: return value & 0xffffffff;
        default: return value;
    }
}

// A 32-bit result clears the upper half of its 64-bit register; smaller ones keep the rest (SDM vol. 1, 3.4.1.1).
inline void write_gpr(State& s, unsigned reg, unsigned size, u64 value, bool high8 = false) {
    u64& r = s.cpu.general.gpr[reg];
    switch (size) {
        case 1: r = high8 ? (r & ~u64{0xff00}) | ((value & 0xff) << 8) : (r & ~u64{0xff}) | (value & 0xff); break;
        case 2: r = (r & ~u64{0xffff}) | (value & 0xffff); break;
        case 4: r = value & 0xffffffff; break;
        default: r = value; break;
    }
}

inline u64 size_mask(unsigned size) { return size >= 8 ? ~u64{0} : (u64{1} << (8 * size)) - 1; }
inline u64 sign_extend(u64 value, unsigned size) {
    const unsigned shift = 64 - 8 * size;
    return static_cast<u64>(static_cast<i64>(value << shift) >> shift);
}

}  // namespace dualvm::interp
