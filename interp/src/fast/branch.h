// Going on at one of a branch's two ends, by its link.
#pragma once

#include "handler.h"

namespace dualvm::interp::fast {

// The ways back to the engine, which will look for the block that is to come, kept out of the handlers' line: at a
// branch whose link is not made yet.
void link_taken(DUALVM_ARGUMENTS);
void link_fall(DUALVM_ARGUMENTS);

// A link within a page needs no check: the page is the one that is executing. `BRANCH` is the Op of the branch, `LINK`
// its field `taken` or `fall`.
#define DUALVM_TAKE(BRANCH, LINK)                                                                           \
    do {                                                                                                    \
        const Op* branch_ = (BRANCH);                                                                       \
        const Block* linked_ = branch_->LINK;                                                               \
        if (__builtin_expect(linked_ == nullptr, 0)) DUALVM_TAIL link_##LINK(s, branch_, ticks, flags, sp); \
        DUALVM_ENTER(linked_);                                                                              \
    } while (false)

// A link to another page holds as long as the address map that it was made under.
#define DUALVM_TAKE_FAR(BRANCH, LINK)                                                                   \
    do {                                                                                                \
        const Op* branch_ = (BRANCH);                                                                   \
        const Block* linked_ = branch_->LINK;                                                           \
        if (__builtin_expect(linked_ == nullptr || branch_->link_generation != s->map_generation, 0)) { \
            DUALVM_TAIL link_##LINK(s, branch_, ticks, flags, sp);                                      \
        }                                                                                               \
        DUALVM_ENTER(linked_);                                                                          \
    } while (false)

// What ends a block that runs into the next page.
void fall_through_far(DUALVM_ARGUMENTS);

}  // namespace dualvm::interp::fast
