// From Insns to Ops: choosing each instruction's handler when a block is built.
#pragma once

#include <span>

#include "block.h"

namespace dualvm::interp {

// Fills block.ops() from block.insns: `count` operations and the one that goes on behind them. `code_base` is what is
// added to RIP to get a linear address.
void translate_block(Block& block, u64 code_base, const Optimisations& use);

// Is it a branch that may go two ways of which one leads to another page? Then both links are checked when they are
// followed (DUALVM_TAKE_FAR), against one generation.
bool has_two_far_links(const Op& op, u64 code_base);

}  // namespace dualvm::interp
