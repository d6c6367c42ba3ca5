// CLC STC CMC CLD STD LAHF SAHF SALC, NOP and hints, fences, XLAT, BOUND, UDn.
#include "reference.h"
#include "reference_flags.h"

namespace dualvm::interp {

namespace {

template <u64 kFlag>
Flow clear_flag(State& s, const Insn&) {
    s.cpu.general.rflags &= ~kFlag;
    return Flow::Next;
}
template <u64 kFlag>
Flow set_flag(State& s, const Insn&) {
    s.cpu.general.rflags |= kFlag;
    return Flow::Next;
}
Flow cmc(State& s, const Insn&) {
    s.cpu.general.rflags ^= rflags::CF;
    return Flow::Next;
}

// LAHF: AH := SF:ZF:0:AF:0:PF:1:CF. SAHF: back.
constexpr u64 kAhFlags = rflags::SF | rflags::ZF | rflags::AF | rflags::PF | rflags::CF;
Flow lahf(State& s, const Insn&) {
    write_gpr(s, RAX, 1, (s.cpu.general.rflags & kAhFlags) | rflags::Fixed1, true);
    return Flow::Next;
}
Flow sahf(State& s, const Insn&) {
    set_flags(s, kAhFlags, read_gpr(s, RAX, 1, true));
    return Flow::Next;
}

// SALC (undocumented, not in 64-bit mode): AL := CF ? FFh : 0.
Flow salc(State& s, const Insn&) {
    write_gpr(s, RAX, 1, flag(s, rflags::CF) ? 0xff : 0);
    return Flow::Next;
}

// Nothing to do: hints, and fences where one CPU executes in order.
Flow nop(State&, const Insn&) { return Flow::Next; }

// CLFLUSH: there is no cache, but the address may fault as a load of one byte does.
Flow clflush(State& s, const Insn& insn) {
    u64 linear = 0;
    if (!linear_address(s, insn.segment, effective_address(s, insn), 1, Access::Read, linear)) return Flow::Fault;
    return check_linear(s, linear, 1, Access::Read) ? Flow::Next : Flow::Fault;
}

// XLAT: AL := DS:[(R)BX + AL].
Flow xlat(State& s, const Insn& insn) {
    const u64 offset = (s.cpu.general.gpr[RBX] + read_gpr(s, RAX, 1)) & size_mask(insn.address_size);
    u64 value = 0;
    if (!read_value(s, insn.segment, offset, 1, value)) return Flow::Fault;
    write_gpr(s, RAX, 1, value);
    return Flow::Next;
}

// BOUND: #BR if the signed index is below the first or above the second of a pair of bounds in memory.
Flow bound(State& s, const Insn& insn) {
    const unsigned size = insn.operand[0].size;
    const u64 offset = effective_address(s, insn);
    u64 low = 0, high = 0;
    if (!read_value(s, insn.segment, offset, size, low)) return Flow::Fault;
    if (!read_value(s, insn.segment, (offset + size) & size_mask(insn.address_size), size, high)) return Flow::Fault;
    const auto as_signed = [size](u64 v) { return static_cast<i64>(sign_extend(v, size)); };
    const i64 index = as_signed(read_gpr(s, insn.operand[0].reg, size));
    return index < as_signed(low) || index > as_signed(high) ? s.raise(BR) : Flow::Next;
}

Flow undefined(State& s, const Insn&) { return s.raise(UD); }

}  // namespace

void add_flag_instructions(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_CLC, clear_flag<rflags::CF>);
    table.add(ZYDIS_MNEMONIC_STC, set_flag<rflags::CF>);
    table.add(ZYDIS_MNEMONIC_CMC, cmc);
    table.add(ZYDIS_MNEMONIC_CLD, clear_flag<rflags::DF>);
    table.add(ZYDIS_MNEMONIC_STD, set_flag<rflags::DF>);
    table.add(ZYDIS_MNEMONIC_LAHF, lahf);
    table.add(ZYDIS_MNEMONIC_SAHF, sahf);
    table.add(ZYDIS_MNEMONIC_SALC, salc);
    for (ZydisMnemonic m :
         {ZYDIS_MNEMONIC_NOP, ZYDIS_MNEMONIC_PAUSE, ZYDIS_MNEMONIC_LFENCE, ZYDIS_MNEMONIC_MFENCE, ZYDIS_MNEMONIC_SFENCE,
          ZYDIS_MNEMONIC_PREFETCH, ZYDIS_MNEMONIC_PREFETCHW, ZYDIS_MNEMONIC_PREFETCHNTA, ZYDIS_MNEMONIC_PREFETCHT0,
          ZYDIS_MNEMONIC_PREFETCHT1, ZYDIS_MNEMONIC_PREFETCHT2, ZYDIS_MNEMONIC_PREFETCHWT1}) {
        table.add(m, nop);
    }
    table.add(ZYDIS_MNEMONIC_CLFLUSH, clflush);
    table.add(ZYDIS_MNEMONIC_XLAT, xlat);
    table.add(ZYDIS_MNEMONIC_BOUND, bound);
    for (ZydisMnemonic m : {ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_UD1, ZYDIS_MNEMONIC_UD2}) table.add(m, undefined);
}

}  // namespace dualvm::interp
