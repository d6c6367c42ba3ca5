// The guest's own hardware breakpoints: DR0-DR3, DR6, DR7 (SDM vol. 3B, 17.2). While one is enabled the engine goes
// instruction by instruction.
#pragma once

#include "state.h"

namespace dualvm::interp {

inline constexpr u64 kDr6SingleStep = u64{1} << 14;  // BS

// Any of L0, G0 .. L3, G3.
inline bool breakpoints_enabled(const DebugGroup& debug) { return (debug.dr7 & 0xff) != 0; }

// An enabled breakpoint on execution at RIP: sets DR6 and State::fault. A fault: the instruction has not run.
bool hits_instruction_breakpoint(State& s);

// From now to the end of the instruction, data accesses that an enabled breakpoint watches are noted in
// State::watched_data_hits.
void watch_data(State& s);

// Told of each data access while State::watching_data is set.
void note_data_access(State& s, u64 linear, unsigned size, bool write);
// The same of each access to ports, which count with CR4.DE.
void note_port_access(State& s, u16 port, unsigned size);

}  // namespace dualvm::interp
