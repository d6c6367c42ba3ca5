// The pieces of machine code that the probe runs; pieces.S says what each one does.
#pragma once

#include <span>

#include "dualvm/types.h"

// clang-format off
#define DUALVM_PROBE_PIECES(X) \
    X(handlers) X(loop) X(loop16) X(nops) X(out_loop) X(cpuid_loop) X(ud2_loop) X(ud2_handler) X(syscall) \
    X(syscall_entry) X(int_n) X(cli) X(paging32) X(pcid) X(cpuid_features) X(read_loop) X(split_write) X(forever) \
    X(count_handler) X(fwait) X(fninit) X(fxsave) X(cmpxchg16b) X(movbe) X(popcnt) X(movdqa) X(paddb) X(rdrand) \
    X(clwb)
// clang-format on

extern "C" {
#define X(NAME) extern const dualvm::u8 probe_##NAME[], probe_##NAME##_end[];
DUALVM_PROBE_PIECES(X)
#undef X
}

namespace dualvm::kvm {

using Piece = std::span<const u8>;

namespace piece {
#define X(NAME) inline const Piece NAME{probe_##NAME, probe_##NAME##_end};
DUALVM_PROBE_PIECES(X)
#undef X
}  // namespace piece

}  // namespace dualvm::kvm
