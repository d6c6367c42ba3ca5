// Segment loading, event delivery and control registers: the system side that instructions and the engine share.
#pragma once

#include "memory.h"

namespace dualvm::interp {

// --- events
// -------------------------------------------------------------------------------------------------------------

enum class EventKind : u8 { External, Nmi, Exception, SoftwareInterrupt, SoftwareException /* INT3, INTO */, Int1 };

struct Event {
    EventKind kind = EventKind::Exception;
    u8 vector = 0;
    bool has_error_code = false;
    u32 error_code = 0;
    u64 return_rip = 0;  // saved on the handler's stack
};

// Goes through the IVT, IDT or TSS to the handler (SDM vol. 3A, 6.12, 6.14, 20.1). False: a fault happened on the way
// (State::fault), and CpuFile is as it was before.
bool deliver_event(State& s, const Event& event);

// Delivers State::fault for the instruction at `rip`: with double faults and, if that fails too, shutdown (SDM vol. 3A,
// 6.15, "Interrupt 8"). False: shutdown (triple fault). Where each delivery faults in its turn and never makes a double
// fault, it gives up after some rounds and leaves the last fault pending in CpuFile, to be delivered again.
bool deliver_fault(State& s, u64 rip);

// --- control registers and MSRs
// -----------------------------------------------------------------------------------------

// MOV to CRn with every check and side effect (TLB flush, PDPTE load, long mode activation). Flow::Jump or Flow::Fault.
Flow write_cr0(State& s, u64 value);
Flow write_cr3(State& s, u64 value);
Flow write_cr4(State& s, u64 value);

// Time stamp counter as RDTSC gives it now.
u64 read_tsc(State& s);
void write_tsc(State& s, u64 value);
// Brings the machine's virtual clock up to the instruction that runs: before any device or the TSC is asked.
void synchronize_clock(State& s);

// --- port I/O
// -----------------------------------------------------------------------------------------------------------

// One IN or OUT through the machine's exit handling (permission is the caller's business).
u64 port_read(State& s, u16 port, unsigned size);
void port_write(State& s, u16 port, unsigned size, u64 value);

}  // namespace dualvm::interp
