// SSE arithmetic on floating-point numbers: one table.
#pragma once

#include "sse.h"

namespace dualvm::interp::fast {

// Mnemonic, instruction, bytes of a memory operand.
// clang-format off
#define DUALVM_SSE_FLOAT(ROW) \
    ROW(ADDPS, "addps", 16) ROW(ADDPD, "addpd", 16) ROW(ADDSS, "addss", 4) ROW(ADDSD, "addsd", 8) \
    ROW(SUBPS, "subps", 16) ROW(SUBPD, "subpd", 16) ROW(SUBSS, "subss", 4) ROW(SUBSD, "subsd", 8) \
    ROW(MULPS, "mulps", 16) ROW(MULPD, "mulpd", 16) ROW(MULSS, "mulss", 4) ROW(MULSD, "mulsd", 8) \
    ROW(DIVPS, "divps", 16) ROW(DIVPD, "divpd", 16) ROW(DIVSS, "divss", 4) ROW(DIVSD, "divsd", 8) \
    ROW(MINPS, "minps", 16) ROW(MINPD, "minpd", 16) ROW(MINSS, "minss", 4) ROW(MINSD, "minsd", 8) \
    ROW(MAXPS, "maxps", 16) ROW(MAXPD, "maxpd", 16) ROW(MAXSS, "maxss", 4) ROW(MAXSD, "maxsd", 8) \
    ROW(SQRTPS, "sqrtps", 16) ROW(SQRTPD, "sqrtpd", 16) ROW(SQRTSS, "sqrtss", 4) ROW(SQRTSD, "sqrtsd", 8) \
    ROW(RCPPS, "rcpps", 16) ROW(RCPSS, "rcpss", 4) ROW(RSQRTPS, "rsqrtps", 16) ROW(RSQRTSS, "rsqrtss", 4) \
    ROW(ADDSUBPS, "addsubps", 16) ROW(ADDSUBPD, "addsubpd", 16) ROW(HADDPS, "haddps", 16) \
    ROW(HADDPD, "haddpd", 16) ROW(HSUBPS, "hsubps", 16) ROW(HSUBPD, "hsubpd", 16)
// clang-format on

#define DUALVM_ROW(NAME, TEXT, SIZE) DUALVM_SSE_OPERATION(NAME, TEXT, SIZE)
DUALVM_SSE_FLOAT(DUALVM_ROW)
#undef DUALVM_ROW

}  // namespace dualvm::interp::fast
