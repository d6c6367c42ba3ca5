// What watches the interpreter and is no part of the guest's machine: counts for --stats and --json, and stops where
// the guest enters or leaves its programs. None of it is in a handler. A build with DUALVM_INSTRUMENTATION=OFF has none
// of it at all, for `./dev bench --instrumentation`, which says what it costs.
#pragma once

#include "dualvm/types.h"

namespace dualvm::interp {

#ifdef DUALVM_NO_INSTRUMENTATION
inline constexpr bool kInstrumented = false;
#else
inline constexpr bool kInstrumented = true;
#endif

inline void count_event(u64& counter) {
    if constexpr (kInstrumented) ++counter;
}

}  // namespace dualvm::interp
