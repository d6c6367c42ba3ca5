// The sixteen conditions of Jcc, SETcc and CMOVcc (SDM vol. 1, appendix B), on RFLAGS.
#pragma once

#include "reference.h"
#include "reference_flags.h"

namespace dualvm::interp {

// `code` as in the opcodes: O NO B NB Z NZ BE NBE S NS P NP L NL LE NLE.
inline bool condition_holds(const State& s, unsigned code) {
    const bool less = flag(s, rflags::SF) != flag(s, rflags::OF);
    bool holds = false;
    switch (code >> 1) {
        case 0: holds = flag(s, rflags::OF); break;
        case 1: holds = flag(s, rflags::CF); break;
        case 2: holds = flag(s, rflags::ZF); break;
        case 3: holds = flag(s, rflags::CF) || flag(s, rflags::ZF); break;
        case 4: holds = flag(s, rflags::SF); break;
        case 5: holds = flag(s, rflags::PF); break;
        case 6: holds = less; break;
        case 7: holds = flag(s, rflags::ZF) || less; break;
        default: break;
    }
    return holds != ((code & 1) != 0);
}

// The condition of an instruction is the low half of its last opcode byte (7xh, 0F 8xh, 0F 4xh, 0F 9xh).
inline bool condition_holds(const State& s, const Insn& insn) { return condition_holds(s, insn.opcode & 15); }

// Adds `implementation` for all sixteen mnemonics ZYDIS_MNEMONIC_<PREFIX><condition>.
#define DUALVM_ADD_CONDITIONS(TABLE, PREFIX, IMPLEMENTATION)                                                       \
    for (ZydisMnemonic m :                                                                                         \
         {PREFIX##O, PREFIX##NO, PREFIX##B, PREFIX##NB, PREFIX##Z, PREFIX##NZ, PREFIX##BE, PREFIX##NBE, PREFIX##S, \
          PREFIX##NS, PREFIX##P, PREFIX##NP, PREFIX##L, PREFIX##NL, PREFIX##LE, PREFIX##NLE}) {                    \
        (TABLE).add(m, IMPLEMENTATION);                                                                            \
    }

}  // namespace dualvm::interp
