// Running one instruction by its reference implementation.
#pragma once

#include <Zydis/Zydis.h>

#include "decoder.h"
#include "state.h"

namespace dualvm::interp {

// #UD for an instruction that no implementation knows, as a CPU without the feature gives it; counted by name.
inline Flow undefined_instruction(State& s, const Insn& insn) {
    ++s.statistics.named[std::string("unimplemented ") + mnemonic_name(insn.mnemonic)];
    return s.raise(UD);
}

// RFLAGS must be complete. Afterwards CpuFile's RIP is that of the next instruction, unless `insn` changed it.
inline Flow run_reference(State& s, const Insn& insn, u64 rip) {
    s.insn_rip = rip;
    s.cpu.general.rip = insn.long_mode ? rip + insn.length : (rip + insn.length) & 0xffffffff;
    if (insn.run == nullptr) return undefined_instruction(s, insn);
    return insn.run(s, insn);
}

}  // namespace dualvm::interp
