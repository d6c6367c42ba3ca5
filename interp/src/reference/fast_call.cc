// System calls without descriptors: SYSCALL, SYSRET, SYSENTER, SYSEXIT and SWAPGS (SDM vol. 3A, 5.8.7, 5.8.8), and the
// bases of FS and GS that go with them.
//
// CS and SS get fixed, flat contents; only their selectors come from MSRs.
#include "../breakpoints.h"
#include "../descriptors.h"
#include "reference.h"

namespace dualvm::interp {

namespace {

constexpr u32 kCodeType = 11, kDataType = 3;  // execute/read and read/write, both accessed

Segment flat_segment(u16 selector, u32 type, u32 dpl, u32 size_bits) {
    return {.base = 0,
            .limit = 0xffffffff,
            .access = type | Segment::S | dpl << Segment::DplShift | Segment::P | Segment::G | size_bits,
            .selector = selector};
}

// `code_selector` and `stack_selector` without regard to their RPL; `level` is the new CPL.
Flow enter(State& s, u32 level, bool code64, u64 code_selector, u64 stack_selector) {
    const u16 cs = with_rpl(static_cast<u16>(code_selector), level);
    const u16 ss = with_rpl(static_cast<u16>(stack_selector), level);
    s.cpu.segments.seg[CS] = flat_segment(cs, kCodeType, level, code64 ? Segment::L : Segment::DB);
    s.cpu.segments.seg[SS] = flat_segment(ss, kDataType, level, Segment::DB);
    privilege_changed(s);
    return Flow::Jump;
}

// The single-step trap of SYSCALL and SYSRET goes by the TF that they leave: IA32_FMASK keeps a program's out of the
// kernel, and a program that comes back with TF traps before its first instruction. (The manual says only that TF "is
// not cleared by privilege changes", vol. 3B, 17.3.1.4; operating systems count on this.)
void trap_if_stepped(State& s) {
    if ((s.cpu.general.rflags & rflags::TF) == 0) return;
    s.cpu.debug.dr6 |= kDr6SingleStep;
    s.cpu.events.exception_pending = true;
    s.cpu.events.exception_vector = DB;
    s.cpu.events.exception_has_error_code = false;
}

// As on Intel, both exist in 64-bit mode only.
bool has_syscall(const State& s) { return s.code64() && (s.cpu.control.efer & efer::SCE) != 0; }

Flow syscall(State& s, const Insn&) {
    if (!has_syscall(s)) return s.raise(UD);
    GeneralGroup& general = s.cpu.general;
    const MsrGroup& msrs = s.cpu.msrs;
    general.gpr[RCX] = general.rip;
    general.gpr[R11] = general.rflags;
    general.rip = msrs.lstar;
    general.rflags = (general.rflags & ~(msrs.sfmask | rflags::RF)) | rflags::Fixed1;
    trap_if_stepped(s);
    const u64 selector = msrs.star >> 32;
    return enter(s, 0, true, selector, (selector & 0xfffc) + 8);
}

Flow sysret(State& s, const Insn& insn) {
    if (!has_syscall(s)) return s.raise(UD);
    GeneralGroup& general = s.cpu.general;
    const bool to_64bit = insn.operand_size == 8;
    if (s.cpu.cpl() != 0) return s.raise(GP, 0);
    // Intel checks the address here, still at CPL 0.
    if (to_64bit && !is_canonical(general.gpr[RCX])) return s.raise(GP, 0);
    general.rip = read_gpr(s, RCX, to_64bit ? 8 : 4);
    constexpr u64 kLoaded = 0x3c7fd7;  // all but RF and VM
    general.rflags = (general.gpr[R11] & kLoaded) | rflags::Fixed1;
    trap_if_stepped(s);
    const u64 selector = s.cpu.msrs.star >> 48;
    return enter(s, 3, to_64bit, selector + (to_64bit ? 16 : 0), selector + 8);
}

Flow sysenter(State& s, const Insn&) {
    const MsrGroup& msrs = s.cpu.msrs;
    if (!s.protected_mode() || is_null(static_cast<u16>(msrs.sysenter_cs))) return s.raise(GP, 0);
    const unsigned size = s.long_mode_active() ? 8 : 4;
    s.cpu.general.rflags &= ~(rflags::VM | rflags::IF | rflags::RF);
    s.cpu.general.gpr[RSP] = msrs.sysenter_esp & size_mask(size);
    s.cpu.general.rip = msrs.sysenter_eip & size_mask(size);
    return enter(s, 0, s.long_mode_active(), msrs.sysenter_cs, (msrs.sysenter_cs & 0xfffc) + 8);
}

Flow sysexit(State& s, const Insn& insn) {
    const u64 selector = s.cpu.msrs.sysenter_cs;
    if (!s.protected_mode() || is_null(static_cast<u16>(selector)) || s.cpu.cpl() != 0) return s.raise(GP, 0);
    const bool to_64bit = insn.operand_size == 8;
    const u64 rip = s.cpu.general.gpr[RDX], rsp = s.cpu.general.gpr[RCX];
    if (to_64bit && (!is_canonical(rip) || !is_canonical(rsp))) return s.raise(GP, 0);
    s.cpu.general.rip = rip & size_mask(to_64bit ? 8 : 4);
    s.cpu.general.gpr[RSP] = rsp & size_mask(to_64bit ? 8 : 4);
    return enter(s, 3, to_64bit, selector + (to_64bit ? 32 : 16), selector + (to_64bit ? 40 : 24));
}

// SWAPGS: the kernel's per-CPU pointer against the program's GS base.
Flow swapgs(State& s, const Insn&) {
    if (!s.code64()) return s.raise(UD);
    if (s.cpu.cpl() != 0) return s.raise(GP, 0);
    std::swap(s.cpu.segments.seg[GS].base, s.cpu.msrs.kernel_gs_base);
    return Flow::Next;
}

// RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE: at every privilege where CR4.FSGSBASE allows it (SDM vol. 2B, "RDFSBASE").
bool base_accessible(State& s) {
    if (s.code64() && (s.cpu.control.cr4 & cr4::FSGSBASE) != 0) return true;
    s.raise(UD);
    return false;
}

template <SegmentName kName>
Flow read_base(State& s, const Insn& insn) {
    if (!base_accessible(s)) return Flow::Fault;
    const Operand& to = insn.operand[0];
    write_gpr(s, to.reg, to.size, s.cpu.segments.seg[kName].base);
    return Flow::Next;
}

template <SegmentName kName>
Flow write_base(State& s, const Insn& insn) {
    if (!base_accessible(s)) return Flow::Fault;
    const u64 base = read_gpr(s, insn.operand[0].reg, insn.operand[0].size);
    if (!is_canonical(base)) return s.raise(GP, 0);
    s.cpu.segments.seg[kName].base = base;
    return Flow::Next;
}

}  // namespace

void add_fast_system_calls(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_SYSCALL, syscall);
    table.add(ZYDIS_MNEMONIC_SYSRET, sysret);
    table.add(ZYDIS_MNEMONIC_SYSENTER, sysenter);
    table.add(ZYDIS_MNEMONIC_SYSEXIT, sysexit);
    table.add(ZYDIS_MNEMONIC_SWAPGS, swapgs);
    table.add(ZYDIS_MNEMONIC_RDFSBASE, read_base<FS>);
    table.add(ZYDIS_MNEMONIC_RDGSBASE, read_base<GS>);
    table.add(ZYDIS_MNEMONIC_WRFSBASE, write_base<FS>);
    table.add(ZYDIS_MNEMONIC_WRGSBASE, write_base<GS>);
}

}  // namespace dualvm::interp
