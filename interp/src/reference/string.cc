// MOVS STOS LODS SCAS CMPS INS OUTS, with REP, REPE and REPNE.
//
// A repeated instruction is restartable: after each element RSI, RDI and RCX say what is left, so a fault or an
// interrupt in the middle finds the instruction ready to go on (SDM vol. 2B, "REP"). Runs of MOVS and STOS in
// plain memory are moved as blocks, those of CMPS and SCAS compared in one go.
#include <algorithm>
#include <cstring>

#include "reference.h"
#include "reference_flags.h"
#include "system_forms.h"

namespace dualvm::interp {

namespace {

// What one call of a repeated instruction does at most, before interrupts are looked at again. It is a number of
// elements however they are moved: virtual time counts calls, and must not depend on --no-opt=strings or on what the
// TLB holds.
constexpr u64 kElementsAtOnce = 4096;
// Of MOVS and STOS, which can move blocks: so many bytes.
constexpr u64 kBytesAtOnce = 65536;

// One execution: sizes, direction, and the registers that move.
struct Run {
    State& s;
    const Insn& insn;
    unsigned size;  // of an element
    u64 mask;       // of addresses and the count
    u64 step;       // +size or -size, by DF

    Run(State& state, const Insn& instruction, unsigned element)
        : s(state),
          insn(instruction),
          size(element),
          mask(size_mask(instruction.address_size)),
          step(flag(state, rflags::DF) ? u64{0} - element : element) {}

    u64 source() const { return s.cpu.general.gpr[RSI] & mask; }
    u64 destination() const { return s.cpu.general.gpr[RDI] & mask; }
    void advance(Gpr reg, u64 elements = 1) const {
        write_gpr(s, reg, insn.address_size, s.cpu.general.gpr[reg] + step * elements);
    }
    bool read_source(u64& value) const { return read_value(s, insn.segment, source(), size, value); }
    bool read_destination(u64& value) const { return read_value(s, ES, destination(), size, value); }
    bool write_destination(u64 value) const { return write_value(s, ES, destination(), size, value); }
};

enum class Element : u8 { Done, LastOfRun, Fault };

// REP MOVS and REP STOS with 32-bit addresses in 64-bit mode: CPUs of this model's maker clear the upper halves of the
// registers that move even if nothing is moved; every string instruction does so with RCX (not in the manual, but
// guests can see it).
void clear_upper_halves(const Run& run, std::initializer_list<Gpr> cleared) {
    if (!run.insn.long_mode || run.insn.address_size != 4 || !(run.insn.rep || run.insn.repne)) return;
    for (Gpr reg : cleared) write_gpr(run.s, reg, 4, run.s.cpu.general.gpr[reg]);
}

// Repeats `element` as the prefix says, `at_once` times at most. `bulk(count)` may do several elements together: it
// returns how many, 0 for none.
template <class One, class Bulk>
Flow repeat(const Run& run, u64 at_once, One element, Bulk bulk) {
    State& s = run.s;
    if (!run.insn.rep && !run.insn.repne) return element() == Element::Fault ? Flow::Fault : Flow::Next;
    clear_upper_halves(run, {RCX});
    // With TF set, the single-step trap comes behind every element, and so does that of a data breakpoint behind the
    // element that hit it (SDM vol. 3B, 17.3.1.2, 17.3.1.4).
    u64 budget = flag(s, rflags::TF) || s.watching_data ? 1 : at_once;
    auto finished = [&] { return s.work_left > 0 ? Flow::Next : Flow::Jump; };
    // What writes over its own code goes on to its end, as on CPUs, which do not fetch it again for each element.
    while (true) {
        const u64 left = s.cpu.general.gpr[RCX] & run.mask;
        if (left == 0) return finished();
        if (budget == 0 || s.io_done) return Flow::Again;
        u64 done = bulk(std::min(left, budget));
        bool last = false;
        s.did_work(1, done);
        if (done == 0) {
            const Element result = element();
            if (result == Element::Fault) return Flow::Fault;
            last = result == Element::LastOfRun;
            done = 1;
        }
        write_gpr(s, RCX, run.insn.address_size, left - done);
        budget -= done;
        if (last) return finished();
    }
}

u64 no_bulk(u64) { return 0; }

// May this run be moved in blocks? Misaligned elements may each be an #AC(0) of their own.
bool in_blocks(const Run& run) {
    State& s = run.s;
    if (!s.use.strings || flag(s, rflags::DF) || s.watching_data) return false;
    return !(s.user && (s.cpu.control.cr0 & cr0::AM) != 0 && flag(s, rflags::AC));
}

// Does the segment allow access to all of them? Without a fault.
bool allowed(const Run& run, SegmentName segment, u64 offset, u64 elements, Access access, u64& linear) {
    const Fault kept = run.s.fault;
    const bool yes = linear_address(run.s, segment, offset, static_cast<unsigned>(elements * run.size), access, linear);
    run.s.fault = kept;
    return yes;
}

// Elements from `offset` upwards that lie in plain memory, and where the host has it.
struct Plain {
    u8* host = nullptr;
    u64 elements = 0;
    bool code = false;  // to be written, within one page that holds code
    u64 physical = 0;   // of such a page
};
Plain plain_run(const Run& run, SegmentName segment, u64 offset, u64 elements, Access access) {
    State& s = run.s;
    // What goes round the end of the address space is left to one element.
    const u64 to_end = (run.mask - offset) / run.size;
    elements = std::min(elements, to_end);
    if (elements < 2) return {};
    u64 linear = 0;
    if (!allowed(run, segment, offset, elements, access, linear)) {
        // Perhaps up to the end of the page; if not, an element will fault in its turn.
        if (!allowed(run, segment, offset, 1, access, linear)) return {};
        elements = std::min(elements, (kPageSize - (linear & kPageMask)) / run.size);
        if (elements < 2 || !allowed(run, segment, offset, elements, access, linear)) return {};
    }
    // Nor does it go round the end of 32-bit linear addresses, where the segment has a base.
    if (!s.code64()) elements = std::min(elements, ((u64{1} << 32) - linear) / run.size);
    if (elements < 2) return {};
    u8* host = host_address(s, linear, access);
    if (host == nullptr) {
        if (access != Access::Write) return {};
        Plain page{.elements = std::min(elements, (kPageSize - (linear & kPageMask)) / run.size), .code = true};
        if (page.elements >= 2) page.host = host_address_of_code(s, linear, page.physical);
        return page;
    }
    // The pages behind the first one belong to the run as long as the host has them behind it, too.
    const u64 wanted = elements * run.size;
    u64 bytes = kPageSize - (linear & kPageMask);
    const TlbTable& table = access == Access::Write ? s.tlb->write : s.tlb->read;
    const u64 addend = reinterpret_cast<u64>(host) - linear;
    while (bytes < wanted) {
        const TlbEntry* next = table.find(linear + bytes);
        if (next == nullptr || next->addend != addend) break;
        bytes += kPageSize;
    }
    elements = std::min(wanted, bytes) / run.size;
    if (elements < 2) return {};
    return {host, elements};
}

// MOVS: ES:[(R)DI] := DS:[(R)SI].
Flow movs(State& s, const Insn& insn, unsigned size) {
    const Run run(s, insn, size);
    clear_upper_halves(run, {RSI, RDI});
    auto one = [&] {
        u64 value = 0;
        if (!run.read_source(value) || !run.write_destination(value)) return Element::Fault;
        run.advance(RSI);
        run.advance(RDI);
        return Element::Done;
    };
    const bool blocks = in_blocks(run);
    auto bulk = [&](u64 elements) -> u64 {
        if (!blocks || elements < 2) return 0;
        const Plain from = plain_run(run, insn.segment, run.source(), elements, Access::Read);
        if (from.host == nullptr) return 0;
        const Plain to = plain_run(run, ES, run.destination(), from.elements, Access::Write);
        if (to.host == nullptr) return 0;
        u64 done = to.elements;
        // A copy onto bytes that are still to be read repeats them: so many elements at a time that it does not.
        if (to.host > from.host) done = std::min(done, static_cast<u64>(to.host - from.host) / size);
        std::memmove(to.host, from.host, done * size);
        if (to.code && done != 0) note_write_to_code(s, to.physical, done * size);
        run.advance(RSI, done);
        run.advance(RDI, done);
        return done;
    };
    return repeat(run, kBytesAtOnce / size, one, bulk);
}

// STOS: ES:[(R)DI] := (R)AX.
Flow stos(State& s, const Insn& insn, unsigned size) {
    const Run run(s, insn, size);
    clear_upper_halves(run, {RDI});
    const u64 value = read_gpr(s, RAX, size);
    const bool one_byte = value == ((value & 0xff) * 0x0101010101010101u & size_mask(size));  // repeated
    auto one = [&] {
        if (!run.write_destination(value)) return Element::Fault;
        run.advance(RDI);
        return Element::Done;
    };
    const bool blocks = in_blocks(run);
    auto bulk = [&](u64 elements) -> u64 {
        if (!blocks || elements < 2) return 0;
        const Plain to = plain_run(run, ES, run.destination(), elements, Access::Write);
        if (to.host == nullptr) return 0;
        const u64 bytes = to.elements * size;
        if (one_byte) {
            std::memset(to.host, static_cast<int>(value & 0xff), bytes);
        } else {
            // Doubling what is there already: a few large copies.
            std::memcpy(to.host, &value, size);
            for (u64 filled = size; filled < bytes;) {
                const u64 more = std::min(filled, bytes - filled);
                std::memcpy(to.host + filled, to.host, more);
                filled += more;
            }
        }
        if (to.code) note_write_to_code(s, to.physical, bytes);
        run.advance(RDI, to.elements);
        return to.elements;
    };
    return repeat(run, kBytesAtOnce / size, one, bulk);
}

// LODS: (R)AX := DS:[(R)SI].
Flow lods(State& s, const Insn& insn, unsigned size) {
    const Run run(s, insn, size);
    auto one = [&] {
        u64 value = 0;
        if (!run.read_source(value)) return Element::Fault;
        write_gpr(s, RAX, size, value);
        run.advance(RSI);
        return Element::Done;
    };
    return repeat(run, kElementsAtOnce, one, no_bulk);
}

// REPE goes on while ZF is set, REPNE while it is clear.
Element compared(const Run& run) {
    const bool zero = flag(run.s, rflags::ZF);
    return (run.insn.rep && !zero) || (run.insn.repne && zero) ? Element::LastOfRun : Element::Done;
}

// Of a run, how many elements come before the one that ends it: `equal(i)` says whether the i-th is equal to what it is
// compared with; of the first `known` it is known that they end nothing. Not the last one, whose flags are those of the
// whole: `element` of repeat() does that one.
template <class Equal>
u64 before_the_end(const Run& run, u64 elements, u64 known, Equal equal) {
    const bool while_equal = run.insn.rep;
    u64 i = std::min(known, elements - 1);
    while (i + 1 < elements && equal(i) == while_equal) ++i;
    return i;
}

// How many bytes at `a` and `b` are equal at least, found at memory speed.
u64 equal_bytes(const u8* a, const u8* b, u64 bytes) {
    constexpr u64 kStep = 256;
    u64 i = 0;
    while (i + kStep <= bytes && std::memcmp(a + i, b + i, kStep) == 0) i += kStep;
    return i;
}

template <class T>
T element_at(const u8* host, u64 index) {
    T value;
    std::memcpy(&value, host + index * sizeof(T), sizeof value);
    return value;
}

// A fault or a trap in the middle of CMPS or SCAS with REPE or REPNE gives back the flags from before the instruction;
// the registers stay at the element that is next (SDM vol. 2B, "REP").
template <class One, class Bulk>
Flow repeat_comparison(const Run& run, One element, Bulk bulk) {
    const u64 before = run.s.cpu.general.rflags;
    const Flow flow = repeat(run, kElementsAtOnce, element, bulk);
    if (flow == Flow::Fault || flow == Flow::Again) run.s.cpu.general.rflags = before;
    return flow;
}

// SCAS: the flags of (R)AX - ES:[(R)DI].
template <class T>
Flow scas(State& s, const Insn& insn) {
    constexpr unsigned size = sizeof(T);
    const Run run(s, insn, size);
    auto one = [&] {
        u64 value = 0;
        if (!run.read_destination(value)) return Element::Fault;
        set_flags(s, rflags::Arithmetic, subtract_with_flags(read_gpr(s, RAX, size), value, 0, size).flags);
        run.advance(RDI);
        return compared(run);
    };
    const bool blocks = in_blocks(run);
    auto bulk = [&](u64 elements) -> u64 {
        if (!blocks || elements < 2) return 0;
        const Plain there = plain_run(run, ES, run.destination(), elements, Access::Read);
        if (there.host == nullptr) return 0;
        const auto wanted = static_cast<T>(read_gpr(s, RAX, size));
        u64 known = 0;
        if (size == 1 && insn.repne) {
            const void* found = std::memchr(there.host, static_cast<u8>(wanted), there.elements);
            known = found == nullptr ? there.elements : static_cast<u64>(static_cast<const u8*>(found) - there.host);
        }
        const u64 done =
            before_the_end(run, there.elements, known, [&](u64 i) { return element_at<T>(there.host, i) == wanted; });
        run.advance(RDI, done);
        return done;
    };
    return repeat_comparison(run, one, bulk);
}

// CMPS: the flags of DS:[(R)SI] - ES:[(R)DI].
template <class T>
Flow cmps(State& s, const Insn& insn) {
    constexpr unsigned size = sizeof(T);
    const Run run(s, insn, size);
    auto one = [&] {
        u64 a = 0, b = 0;
        // In this order, which shows where both fault.
        if (!run.read_destination(b) || !run.read_source(a)) return Element::Fault;
        set_flags(s, rflags::Arithmetic, subtract_with_flags(a, b, 0, size).flags);
        run.advance(RSI);
        run.advance(RDI);
        return compared(run);
    };
    const bool blocks = in_blocks(run);
    auto bulk = [&](u64 elements) -> u64 {
        if (!blocks || elements < 2) return 0;
        const Plain b = plain_run(run, ES, run.destination(), elements, Access::Read);
        if (b.host == nullptr) return 0;
        const Plain a = plain_run(run, insn.segment, run.source(), b.elements, Access::Read);
        if (a.host == nullptr) return 0;
        const u64 known = insn.rep ? equal_bytes(a.host, b.host, a.elements * size) / size : 0;
        const u64 done = before_the_end(run, a.elements, known,
                                        [&](u64 i) { return element_at<T>(a.host, i) == element_at<T>(b.host, i); });
        run.advance(RSI, done);
        run.advance(RDI, done);
        return done;
    };
    return repeat_comparison(run, one, bulk);
}

u16 port(const State& s) { return static_cast<u16>(s.cpu.general.gpr[RDX]); }

// INS: ES:[(R)DI] := port DX. The place is checked before the device is asked: reading a port cannot be undone.
Flow ins(State& s, const Insn& insn, unsigned size) {
    const Run run(s, insn, size);
    if (!io_permitted(s, port(s), size)) return Flow::Fault;
    auto one = [&] {
        u64 linear = 0;
        if (!linear_address(s, ES, run.destination(), size, Access::Write, linear)) return Element::Fault;
        if (!check_linear(s, linear, size, Access::Write)) return Element::Fault;
        const u64 value = port_read(s, port(s), size);
        if (!write_linear(s, linear, &value, size)) return Element::Fault;
        run.advance(RDI);
        return Element::Done;
    };
    return repeat(run, kElementsAtOnce, one, no_bulk);
}

// OUTS: port DX := DS:[(R)SI].
Flow outs(State& s, const Insn& insn, unsigned size) {
    const Run run(s, insn, size);
    if (!io_permitted(s, port(s), size)) return Flow::Fault;
    auto one = [&] {
        u64 value = 0;
        if (!run.read_source(value)) return Element::Fault;
        port_write(s, port(s), size, value);
        run.advance(RSI);
        return Element::Done;
    };
    return repeat(run, kElementsAtOnce, one, no_bulk);
}

using Sized = Flow (*)(State&, const Insn&, unsigned);
template <Sized kFamily, unsigned kSize>
Flow of_size(State& s, const Insn& insn) {
    return kFamily(s, insn, kSize);
}

}  // namespace

void add_string_instructions(ReferenceTable& table) {
#define DUALVM_ADD_SIZES(NAME, FAMILY)                       \
    table.add(ZYDIS_MNEMONIC_##NAME##B, of_size<FAMILY, 1>); \
    table.add(ZYDIS_MNEMONIC_##NAME##W, of_size<FAMILY, 2>); \
    table.add(ZYDIS_MNEMONIC_##NAME##D, of_size<FAMILY, 4>);
    DUALVM_ADD_SIZES(MOVS, movs)
    DUALVM_ADD_SIZES(STOS, stos)
    DUALVM_ADD_SIZES(LODS, lods)
    DUALVM_ADD_SIZES(INS, ins)
    DUALVM_ADD_SIZES(OUTS, outs)
#undef DUALVM_ADD_SIZES
    table.add(ZYDIS_MNEMONIC_MOVSQ, of_size<movs, 8>);
    table.add(ZYDIS_MNEMONIC_STOSQ, of_size<stos, 8>);
    table.add(ZYDIS_MNEMONIC_LODSQ, of_size<lods, 8>);
#define DUALVM_ADD_TYPES(NAME, FAMILY)                \
    table.add(ZYDIS_MNEMONIC_##NAME##B, FAMILY<u8>);  \
    table.add(ZYDIS_MNEMONIC_##NAME##W, FAMILY<u16>); \
    table.add(ZYDIS_MNEMONIC_##NAME##D, FAMILY<u32>); \
    table.add(ZYDIS_MNEMONIC_##NAME##Q, FAMILY<u64>);
    DUALVM_ADD_TYPES(SCAS, scas)
    DUALVM_ADD_TYPES(CMPS, cmps)
#undef DUALVM_ADD_TYPES
}

}  // namespace dualvm::interp
