// Going on at one of a branch's two ends, by its link.
#pragma once

#include "handler.h"

namespace dualvm::interp::fast {

// A link within a page needs no check: the page is the one that is executing. `BRANCH` is the Op of the branch, `LINK`
// its field `taken` or `fall`.
#define DUALVM_TAKE(BRANCH, LINK, RIP)                            \
    do {                                                          \
        if (__builtin_expect((BRANCH)->LINK == nullptr, 0)) {     \
            s->cpu.general.rip = (RIP);                           \
            s->link_taken = std::string_view(#LINK) == "taken";   \
            return leave(s, (BRANCH), ticks, flags, Leave::Link); \
        }                                                         \
        DUALVM_ENTER((BRANCH)->LINK);                             \
    } while (false)

// A link to another page holds as long as the address map that it was made under.
#define DUALVM_TAKE_FAR(BRANCH, LINK, RIP)                                                                      \
    do {                                                                                                        \
        if (__builtin_expect((BRANCH)->LINK == nullptr || (BRANCH)->link_generation != s->map_generation, 0)) { \
            s->cpu.general.rip = (RIP);                                                                         \
            s->link_taken = std::string_view(#LINK) == "taken";                                                 \
            return leave(s, (BRANCH), ticks, flags, Leave::Link);                                               \
        }                                                                                                       \
        DUALVM_ENTER((BRANCH)->LINK);                                                                           \
    } while (false)

// What ends a block that runs into the next page.
void fall_through_far(DUALVM_ARGUMENTS);

}  // namespace dualvm::interp::fast
