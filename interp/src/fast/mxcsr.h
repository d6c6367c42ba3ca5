// The guest's MXCSR in the host's register, and its x87 state in the host's unit.
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

// The x87 unit: all of the guest's state is loaded, XMM registers (which no handler counts on) and MXCSR with it.
inline void take_x87(State& s) {
    if (s.mxcsr_in_host) {
        s.fx.mxcsr = __builtin_ia32_stmxcsr();
    } else {
        s.host_mxcsr = __builtin_ia32_stmxcsr();
    }
    asm volatile("fxrstor64 %0" : : "m"(s.fx));
    s.mxcsr_in_host = s.x87_in_host = true;
}

inline void give_x87_back(State& s) {
    FxImage image;
    asm volatile("fxsave64 %0\n\tfninit" : "=m"(image));
    s.fx.fcw = image.fcw;
    s.fx.fsw = image.fsw;
    s.fx.ftw = image.ftw;
    s.fx.st = image.st;
    s.x87_in_host = false;
}

// What was in the host before it was given back, for take_again().
struct Taken {
    bool mxcsr, x87;
};
inline Taken give_back(State& s) {
    const Taken taken{.mxcsr = s.mxcsr_in_host, .x87 = s.x87_in_host};
    if (taken.x87) give_x87_back(s);
    give_mxcsr_back(s);
    return taken;
}
inline void take_again(State& s, Taken taken) {
    if (taken.x87) {
        take_x87(s);
    } else if (taken.mxcsr) {
        take_mxcsr(s);
    }
}

}  // namespace dualvm::interp::fast
