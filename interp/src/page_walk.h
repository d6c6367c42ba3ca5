// Paging: from linear to physical addresses by the guest's own tables (SDM vol. 3A, ch. 4).
#pragma once

#include "memory.h"

namespace dualvm::interp {

// Walks the tables for an access with the rights of a user or of a supervisor, and sets accessed and dirty bits. False:
// #PF is raised, CR2 set. The A20 gate has been at `physical`.
bool walk_tables(State& s, u64 linear, Access access, bool user, Privilege who, u64& physical);

// Explicit accesses of the supervisor just now: does EFLAGS.AC let them at user pages, although CR4.SMAP is set
// (4.6.1)?
bool exempt_from_smap(const State& s);

}  // namespace dualvm::interp
