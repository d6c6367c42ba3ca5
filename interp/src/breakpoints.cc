#include "breakpoints.h"

namespace dualvm::interp {

namespace {

// DR7's fields of one breakpoint: R/W says on what, LEN how many bytes (SDM vol. 3B, 17.2.4).
enum class Condition : u8 { Execution = 0, Write = 1, Port = 2, Access = 3 };

struct Breakpoint {
    bool enabled = false;
    Condition condition = Condition::Execution;
    u64 address = 0, size = 1;
};

Breakpoint breakpoint(const DebugGroup& debug, unsigned i) {
    constexpr std::array<u64, 4> kSizes = {1, 2, 8, 4};  // LEN
    const u64 fields = debug.dr7 >> (16 + 4 * i);
    const u64 size = kSizes[(fields >> 2) & 3];
    return {.enabled = (debug.dr7 & (u64{3} << (2 * i))) != 0,
            .condition = static_cast<Condition>(fields & 3),
            .address = debug.dr[i] & ~(size - 1),  // the low bits do not count
            .size = size};
}

bool touches(const Breakpoint& b, u64 address, unsigned size) {
    return b.enabled && address < b.address + b.size && b.address < address + size;
}

}  // namespace

bool hits_instruction_breakpoint(State& s) {
    if (!breakpoints_enabled(s.cpu.debug)) return false;
    u64 linear = s.cpu.code_base() + s.cpu.general.rip;
    if (!s.code64()) linear &= 0xffffffff;
    u64 hits = 0;
    for (unsigned i = 0; i < 4; ++i) {
        const Breakpoint b = breakpoint(s.cpu.debug, i);
        if (b.enabled && b.condition == Condition::Execution && b.address == linear) hits |= u64{1} << i;
    }
    if (hits == 0) return false;
    s.cpu.debug.dr6 |= hits;
    s.raise(DB);
    return true;
}

void watch_data(State& s) {
    s.watched_data_hits = 0;
    s.watching_data = breakpoints_enabled(s.cpu.debug);
}

void note_data_access(State& s, u64 linear, unsigned size, bool write) {
    for (unsigned i = 0; i < 4; ++i) {
        const Breakpoint b = breakpoint(s.cpu.debug, i);
        const bool watched = b.condition == Condition::Access || (b.condition == Condition::Write && write);
        if (watched && touches(b, linear, size)) s.watched_data_hits |= u64{1} << i;
    }
}

void note_port_access(State& s, u16 port, unsigned size) {
    if ((s.cpu.control.cr4 & cr4::DE) == 0) return;  // then the condition is undefined
    for (unsigned i = 0; i < 4; ++i) {
        const Breakpoint b = breakpoint(s.cpu.debug, i);
        if (b.condition == Condition::Port && touches(b, port, size)) s.watched_data_hits |= u64{1} << i;
    }
}

}  // namespace dualvm::interp
