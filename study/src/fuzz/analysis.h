// What is known of a case before it runs: its instructions, and what of their results the manual leaves open.
#pragma once

#include <vector>

#include "dualvm/study/ring3_case.h"
#include "templates.h"

namespace dualvm::study {

struct CaseInstruction {
    u64 offset = 0;  // in the case's code
    unsigned length = 0;
    // Flags that are undefined before it: made so by an instruction before and not defined again since.
    u64 undefined_before = 0;
    DecodedInstruction decoded;
    bool illegal_lock = false;
    bool cut_off = false;  // by the end of its page
};

struct CaseAnalysis {
    std::vector<CaseInstruction> instructions;
    u64 undefined_at_end = 0;
    // A result depends on something undefined: there is nothing to compare.
    bool tainted = false;
    bool reads_selectors = false, reads_flags = false;  // and stores them where they are data

    bool has_int1 = false;

    // An instruction that CPUs of different makers do differently, and may.
    bool makers_differ = false, makers_fault_differently = false;

    // Flags that mean nothing when the instruction pointer is `rip`.
    u64 undefined_at(const Case& c, u64 rip) const;
    // The instruction at `rip`, or nullptr.
    const CaseInstruction* at(const Case& c, u64 rip) const;
};

// Flags that an instruction leaves undefined if it is executed with this count in CL; and whether it leaves its result
// so.
u64 flags_left_undefined(const DecodedInstruction& instruction, u64 cl);
bool result_left_undefined(const DecodedInstruction& instruction, u64 cl);

class Analyser {
public:
    explicit Analyser(const CpuModel& model);
    CaseAnalysis analyse(const Case& c) const;
    const ModelDecoder& decoder(CpuMode mode) const { return mode == CpuMode::Long64 ? wide_ : narrow_; }

private:
    ModelDecoder wide_, narrow_;
};

inline CodeMode code_mode(CpuMode mode) { return mode == CpuMode::Long64 ? CodeMode::Bits64 : CodeMode::Bits32; }

}  // namespace dualvm::study
