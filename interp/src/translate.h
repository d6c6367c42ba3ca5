// From Insns to Ops: choosing each instruction's handler when a block is built.
#pragma once

#include <span>

#include "block.h"

namespace dualvm::interp {

struct TranslateOptions {
    bool fast_handlers = true;  // else every instruction runs its reference implementation
    bool dead_flags = true;     // leave out flags that nobody reads
    bool fuse = true;           // compare and branch in one handler
    bool sse = true;            // fast handlers for SSE, too
};

// Fills block.ops() from block.insns: `count` operations and the one that goes on behind them. `code_base` is what is
// added to RIP to get a linear address.
void translate_block(Block& block, u64 code_base, const TranslateOptions& options);

}  // namespace dualvm::interp
