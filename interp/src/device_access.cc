// Where instructions meet the rest of the machine: ports, and time.
#include <x86intrin.h>

#include "block.h"
#include "breakpoints.h"
#include "system.h"

namespace dualvm::interp {

void synchronize_clock(State& s) {
    VirtualClock* clock = s.machine->virtual_clock();
    if (clock == nullptr) return;
    // In a chain, a block's instructions are taken off `ticks` when it is entered: those from the running one on have
    // not happened yet.
    i64 not_yet = s.ticks;
    if (s.in_chain) not_yet += block_of(s.op)->count - s.op->position;
    clock->set_instructions(s.instructions_of_others + s.instructions_before_slice +
                            static_cast<u64>(s.slice - not_yet));
}

namespace {

u64 tsc_source(State& s) {
    if (s.tsc_is_hosts) return __rdtsc();
    synchronize_clock(s);
    return s.machine->clock().now();  // 1 GHz
}

}  // namespace

u64 read_tsc(State& s) { return s.tsc_offset + tsc_source(s); }

void write_tsc(State& s, u64 value) { s.tsc_offset = value - tsc_source(s); }

namespace {

Exit port_exit(ExitKind kind, u16 port, unsigned size, u64& value) {
    Exit exit;
    exit.kind = kind;
    exit.address = port;
    exit.size = static_cast<u8>(size);
    exit.data = reinterpret_cast<u8*>(&value);
    return exit;
}

void access_port(State& s, Exit exit) {
    if (s.watching_data) note_port_access(s, static_cast<u16>(exit.address), exit.size);
    synchronize_clock(s);
    handle_exit(*s.machine, exit);
    count_event(s.statistics.exits[static_cast<std::size_t>(exit.kind)]);
    s.io_done = true;
}

}  // namespace

u64 port_read(State& s, u16 port, unsigned size) {
    u64 value = 0;
    access_port(s, port_exit(ExitKind::PortRead, port, size, value));
    return value;
}

void port_write(State& s, u16 port, unsigned size, u64 value) {
    access_port(s, port_exit(ExitKind::PortWrite, port, size, value));
}

}  // namespace dualvm::interp
