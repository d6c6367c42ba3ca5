// The guest's MXCSR in the host's register.
//
// SSE arithmetic rounds, flushes and flags by MXCSR. A chain of handlers does not set it for each instruction: the
// first block that needs it puts the guest's there, and whoever leaves the chain, or calls code that is not a handler,
// puts the host's back first. Blocks that may do so are those of ModeKey::kSseMasked, in which no exception can be
// raised; the flags gather in the register as they do in the guest's.
#pragma once

#include "../state.h"

namespace dualvm::interp::fast {

inline void take_mxcsr(State& s) {
    s.host_mxcsr = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(s.fx.mxcsr);
    s.mxcsr_in_host = true;
}

inline void give_mxcsr_back(State& s) {
    s.fx.mxcsr = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(s.host_mxcsr);
    s.mxcsr_in_host = false;
}

}  // namespace dualvm::interp::fast
