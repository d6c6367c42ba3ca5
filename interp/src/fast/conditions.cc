#include "conditions.h"

#include <Zydis/Zydis.h>

#include <algorithm>

namespace dualvm::interp::fast {

namespace {

using Mnemonics = std::array<u16, 16>;

#define DUALVM_CONDITIONS(PREFIX)                                                                                \
    {                                                                                                            \
        PREFIX##O, PREFIX##NO, PREFIX##B, PREFIX##NB, PREFIX##Z, PREFIX##NZ, PREFIX##BE, PREFIX##NBE, PREFIX##S, \
            PREFIX##NS, PREFIX##P, PREFIX##NP, PREFIX##L, PREFIX##NL, PREFIX##LE, PREFIX##NLE                    \
    }
constexpr Mnemonics kJumps = DUALVM_CONDITIONS(ZYDIS_MNEMONIC_J);
constexpr Mnemonics kSets = DUALVM_CONDITIONS(ZYDIS_MNEMONIC_SET);
constexpr Mnemonics kMoves = DUALVM_CONDITIONS(ZYDIS_MNEMONIC_CMOV);
#undef DUALVM_CONDITIONS

int index_in(const Mnemonics& mnemonics, u16 mnemonic) {
    const auto found = std::find(mnemonics.begin(), mnemonics.end(), mnemonic);
    return found == mnemonics.end() ? -1 : static_cast<int>(found - mnemonics.begin());
}

}  // namespace

int jump_condition(u16 mnemonic) { return index_in(kJumps, mnemonic); }
int set_condition(u16 mnemonic) { return index_in(kSets, mnemonic); }
int cmov_condition(u16 mnemonic) { return index_in(kMoves, mnemonic); }

}  // namespace dualvm::interp::fast
