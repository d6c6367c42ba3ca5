// What every change of privilege needs: undoing it when it fails half way, and the stack of the inner level.
#pragma once

#include "descriptors.h"

namespace dualvm::interp {

// Puts general and segment registers back when it goes out of scope, unless keep() was called. An event or a far
// transfer installs the new CS, SS and RSP step by step, so that its pushes are checked as the new level's; the first
// fault leaves, and CpuFile is as it was.
class Transaction {
public:
    explicit Transaction(State& s) : s_(s), general_(s.cpu.general), segments_(s.cpu.segments) {}
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction() {
        if (!kept_) {
            s_.cpu.general = general_;
            s_.cpu.segments = segments_;
        }
        privilege_changed(s_);
    }
    void keep() { kept_ = true; }

    // Registers as they were at the beginning.
    const GeneralGroup& old_general() const { return general_; }
    const Segment& old_segment(SegmentName name) const { return segments_.seg[name]; }

private:
    State& s_;
    GeneralGroup general_;
    SegmentGroup segments_;
    bool kept_ = false;
};

// Runs the body of a far transfer as one step: all of it, or a fault and nothing of it.
Flow all_or_nothing(State& s, const Insn& insn, bool (*body)(State&, const Insn&, const Transaction&));

// Loads SS and RSP with the stack for privilege level `level` from the current TSS (SDM vol. 3A, 5.8.5, 7.2.1, 7.7).
// In IA-32e mode SS becomes null.
bool switch_to_inner_stack(State& s, u32 level, u32 ext);
// In IA-32e mode, RSP from an entry of the interrupt stack table, 1-7, instead (6.14.5).
bool switch_to_interrupt_stack(State& s, u32 ist, u32 ext);

// Is `rip` within the limit of the code segment that a transfer goes to, or canonical if that is 64-bit code? Else
// #GP(ext): before anything is pushed, and before the descriptor is marked accessed.
bool check_target(State& s, const Descriptor& code, u64 rip, u32 ext);

// Installs CS for execution at privilege `cpl` from a descriptor that was checked; sets its accessed bit.
bool install_code_segment(State& s, u16 selector, const Descriptor& descriptor, u32 cpl);

// The target of a far transfer or gate: within the limit of the code segment, or canonical for 64-bit code. Then RIP
// is set.
bool install_instruction_pointer(State& s, u64 rip, u32 ext);

}  // namespace dualvm::interp
