// A State with memory and a decoder but no engine: reference implementations are called on it one at a time.
#pragma once

#include <memory>
#include <span>

#include "block_cache.h"
#include "decoder.h"
#include "dualvm/machine.h"
#include "memory.h"

namespace dualvm::interp {

class TestCpu {
public:
    // Memory is 4 MiB of RAM. The CPU begins in real mode, all segments at 0 with a limit of FFFFh.
    TestCpu();

    // 64-bit or compatibility mode at CPL 3, flat segments, the window of host_cpu.h mapped at kWindow (and nothing
    // else): as a Linux program sees the world.
    void enter_user_program(bool long_mode);
    // 32- or 16-bit protected mode at CPL 0 without paging; flat.
    void enter_protected_mode(unsigned code_size);
    void enter_virtual8086(unsigned iopl);
    void set_flat_segments(u32 dpl, u32 code_bits);

    State& state() { return state_; }
    u64& gpr(unsigned reg) { return state_.cpu.general.gpr[reg]; }
    u64& rflags() { return state_.cpu.general.rflags; }
    u64& rip() { return state_.cpu.general.rip; }
    Segment& segment(SegmentName name) { return state_.cpu.segments.seg[name]; }
    Machine& machine() { return *machine_; }

    // The window's bytes in guest-physical memory.
    void write_window(std::span<const u8> bytes);
    void read_window(std::span<u8> bytes);
    // Physical memory, for modes without paging.
    void poke(u64 address, u64 value, unsigned size);
    u64 peek(u64 address, unsigned size);

    // Decodes `insn` as lying at RIP and runs its reference implementation once. A fault leaves RIP where it was.
    Flow run_once(std::span<const u8> insn);
    // The same, as often as it says Flow::Again.
    Flow run(std::span<const u8> insn);

private:
    std::unique_ptr<Machine> machine_;
    State state_;
    std::unique_ptr<BlockCache> blocks_;
    Decoder decoder_;
};

}  // namespace dualvm::interp
