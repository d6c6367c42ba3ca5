// Which exceptions a dot product raises: DPPS and DPPD.
#pragma once

#include "host_unit.h"

namespace dualvm::interp {

bool is_dot_product(const Insn& insn);

// The flags that MXCSR has gained when DPPS or DPPD ends. Exceptions are determined for each multiplication and
// addition, and those that are not masked end the instruction at once (SDM vol. 2A, "DPPS"): what would come behind is
// not flagged. `memory` holds the source if it is in memory.
u32 dot_product_flags(const Insn& insn, const FxImage& before, const void* memory);

}  // namespace dualvm::interp
