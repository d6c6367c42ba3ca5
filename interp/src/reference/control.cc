// Control and debug registers, and the instructions that only the operating system may use.
#include "../control_registers.h"
#include "../descriptors.h"
#include "reference.h"
#include "system_forms.h"

namespace dualvm::interp {

namespace {

// All instructions here that say "CPL 0" fault with #GP(0) otherwise; virtual-8086 mode is CPL 3.
bool privileged(State& s) { return s.cpu.cpl() == 0 || fault(s, GP, 0); }

// DR6 and DR7 (SDM vol. 3A, 17.2, figure 17-2): bits that programs can change, and those that read as 1.
constexpr u64 kDr6Writable = 0xe00f, kDr6Fixed1 = 0xffff0ff0;
constexpr u64 kDr7Writable = 0xffff23ff, kDr7Fixed1 = 0x400;
constexpr u64 kDr6DebugRegisterAccess = 1u << 13, kDr7GeneralDetect = 1u << 13;

// Which register DR4 and DR5 are: DR6 and DR7, unless CR4.DE says that they do not exist (17.2.2).
bool real_debug_register(const State& s, unsigned& number) {
    if (number > 7) return false;
    if (number != 4 && number != 5) return true;
    number += 2;
    return (s.cpu.control.cr4 & cr4::DE) == 0;
}

u64 read_debug(const State& s, unsigned number) {
    const DebugGroup& debug = s.cpu.debug;
    return number < 4 ? debug.dr[number] : number == 6 ? debug.dr6 : debug.dr7;
}

Flow write_debug(State& s, unsigned number, u64 value) {
    DebugGroup& debug = s.cpu.debug;
    if (number < 4) {
        debug.dr[number] = value;
        return Flow::Jump;
    }
    if (value >> 32 != 0) return s.raise(GP, 0);
    if (number == 6)
        debug.dr6 = (value & kDr6Writable) | kDr6Fixed1;
    else
        debug.dr7 = (value & kDr7Writable) | kDr7Fixed1;
    return Flow::Jump;
}

// LMSW: the low four bits of CR0, of which PE can be set but not cleared.
Flow lmsw(State& s, const Insn& insn) {
    u64 value = 0;
    if (!privileged(s) || !read_operand(s, insn, 0, value)) return Flow::Fault;
    constexpr u64 kLoaded = cr0::PE | cr0::MP | cr0::EM | cr0::TS;
    const u64 old = s.cpu.control.cr0;
    return write_cr0(s, (old & ~kLoaded) | (value & kLoaded) | (old & cr0::PE));
}

// SMSW: a register gets as much of CR0 as it holds, memory 16 bits.
Flow smsw(State& s, const Insn& insn) {
    if ((s.cpu.control.cr4 & cr4::UMIP) != 0 && !privileged(s)) return Flow::Fault;
    return write_operand(s, insn, 0, s.cpu.control.cr0) ? Flow::Next : Flow::Fault;
}

Flow clts(State& s, const Insn&) {
    if (!privileged(s)) return Flow::Fault;
    s.cpu.control.cr0 &= ~cr0::TS;
    return Flow::Jump;
}

// INVLPG takes an address and makes no access: neither limits nor page tables matter, and a non-canonical address is
// no page at all (SDM vol. 2A, "INVLPG").
Flow invlpg(State& s, const Insn& insn) {
    if (!privileged(s)) return Flow::Fault;
    u64 linear = effective_address(s, insn);
    if (!s.code64())
        linear = (linear + s.cpu.segments.seg[insn.segment].base) & 0xffffffff;
    else if (insn.segment == FS || insn.segment == GS)
        linear += s.cpu.segments.seg[insn.segment].base;
    if (is_canonical(linear)) flush_tlb_page(s, linear);
    return Flow::Jump;
}

// INVPCID (SDM vol. 2A, "INVPCID"): a descriptor of PCID and address, and what to forget of them.
enum InvpcidType : u64 { kOneAddress = 0, kOneContext = 1, kAllContexts = 2, kAllButGlobal = 3 };

Flow invpcid(State& s, const Insn& insn) {
    if (!privileged(s)) return Flow::Fault;
    const u64 type = read_gpr(s, insn.operand[0].reg, insn.operand[0].size);
    std::array<u64, 2> descriptor{};
    if (!read_memory(s, insn.segment, effective_address(s, insn), descriptor.data(), sizeof descriptor))
        return Flow::Fault;
    const auto [pcid, linear] = descriptor;
    const bool pcids = (s.cpu.control.cr4 & cr4::PCIDE) != 0;
    if (type > kAllButGlobal || pcid >> 12 != 0) return s.raise(GP, 0);
    if ((type == kOneAddress || type == kOneContext) && !pcids && pcid != 0) return s.raise(GP, 0);
    if (type == kOneAddress && !is_canonical(linear)) return s.raise(GP, 0);
    switch (type) {
        case kOneAddress: flush_tlb_page_of(s, pcid, linear); break;
        case kOneContext: flush_tlb_of(s, pcid); break;
        default: flush_tlb(s); break;
    }
    return Flow::Jump;
}

// CLAC, STAC: may the kernel reach user pages (SDM vol. 2A, "CLAC"; vol. 2B, "STAC")? #UD outside CPL 0.
template <bool kSet>
Flow set_access_flag(State& s, const Insn&) {
    if (s.cpu.cpl() != 0) return s.raise(UD);
    u64& flags = s.cpu.general.rflags;
    flags = kSet ? flags | rflags::AC : flags & ~rflags::AC;
    return Flow::Jump;
}

// INVD, WBINVD: there is no cache that the guest could tell from memory.
Flow flush_caches(State& s, const Insn&) { return privileged(s) ? Flow::Next : Flow::Fault; }

Flow hlt(State& s, const Insn&) {
    if (!privileged(s)) return Flow::Fault;
    s.cpu.events.halted = true;
    return Flow::Halt;
}

// XGETBV and XSETBV know one register, XCR0 (SDM vol. 1, 13.3).
Flow xgetbv(State& s, const Insn&) {
    if ((s.cpu.control.cr4 & cr4::OSXSAVE) == 0) return s.raise(UD);
    if (read_gpr(s, RCX, 4) != 0) return s.raise(GP, 0);
    write_gpr(s, RAX, 4, s.cpu.control.xcr0);
    write_gpr(s, RDX, 4, s.cpu.control.xcr0 >> 32);
    return Flow::Next;
}

Flow xsetbv(State& s, const Insn&) {
    if ((s.cpu.control.cr4 & cr4::OSXSAVE) == 0) return s.raise(UD);
    if (!privileged(s)) return Flow::Fault;
    if (read_gpr(s, RCX, 4) != 0) return s.raise(GP, 0);
    const u64 value = read_gpr(s, RDX, 4) << 32 | read_gpr(s, RAX, 4);
    // What may be set is what CPUID offers; x87 cannot be turned off, and AVX needs SSE.
    constexpr u64 kX87 = 1, kSse = 2, kAvx = 4;
    const CpuidResult offered = s.machine->cpu_model().cpuid(0xd, 0, s.cpu);
    const u64 valid = u64{offered.edx} << 32 | offered.eax;
    if ((value & ~valid) != 0 || (value & kX87) == 0 || (value & (kSse | kAvx)) == kAvx) return s.raise(GP, 0);
    s.cpu.control.xcr0 = value;
    return Flow::Jump;
}

}  // namespace

Flow mov_control(State& s, const Insn& insn) {
    const bool to_register = insn.operand[1].kind == OperandKind::Control;
    const unsigned number = insn.operand[to_register ? 1 : 0].reg;
    const unsigned gpr = insn.operand[to_register ? 0 : 1].reg;
    const unsigned size = insn.long_mode ? 8 : 4;
    const bool exists = number == 0 || (number >= 2 && number <= 4) || (number == 8 && insn.long_mode);
    if (!exists) return s.raise(UD);
    if (!privileged(s)) return Flow::Fault;
    const ControlGroup& control = s.cpu.control;
    if (to_register) {
        u64 value = 0;
        switch (number) {
            case 0: value = control.cr0; break;
            case 2: value = control.cr2; break;
            case 3: value = control.cr3; break;
            case 4: value = control.cr4; break;
            default: value = s.machine->cr8().value_or(control.cr8); break;
        }
        write_gpr(s, gpr, size, value);
        return Flow::Next;
    }
    const u64 value = read_gpr(s, gpr, size);
    switch (number) {
        case 0: return write_cr0(s, value);
        case 2: s.cpu.control.cr2 = value; return Flow::Next;
        case 3: return write_cr3(s, value);
        case 4: return write_cr4(s, value);
        default: return write_cr8(s, value);
    }
}

Flow mov_debug(State& s, const Insn& insn) {
    const bool to_register = insn.operand[1].kind == OperandKind::Debug;
    unsigned number = insn.operand[to_register ? 1 : 0].reg;
    const unsigned gpr = insn.operand[to_register ? 0 : 1].reg;
    const unsigned size = insn.long_mode ? 8 : 4;
    if (!real_debug_register(s, number)) return s.raise(UD);
    if (!privileged(s)) return Flow::Fault;
    if ((s.cpu.debug.dr7 & kDr7GeneralDetect) != 0) {
        s.cpu.debug.dr6 |= kDr6DebugRegisterAccess;
        // The only #DB that is a fault, beside those of instruction breakpoints, and saved as one (17.3.1.1).
        s.cpu.general.rflags |= rflags::RF;
        return s.raise(DB);
    }
    if (!to_register) return write_debug(s, number, read_gpr(s, gpr, size));
    write_gpr(s, gpr, size, read_debug(s, number));
    return Flow::Next;
}

void add_control_instructions(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_LMSW, lmsw);
    table.add(ZYDIS_MNEMONIC_SMSW, smsw);
    table.add(ZYDIS_MNEMONIC_CLTS, clts);
    table.add(ZYDIS_MNEMONIC_INVLPG, invlpg);
    table.add(ZYDIS_MNEMONIC_INVPCID, invpcid);
    table.add(ZYDIS_MNEMONIC_CLAC, set_access_flag<false>);
    table.add(ZYDIS_MNEMONIC_STAC, set_access_flag<true>);
    table.add(ZYDIS_MNEMONIC_INVD, flush_caches);
    table.add(ZYDIS_MNEMONIC_WBINVD, flush_caches);
    table.add(ZYDIS_MNEMONIC_HLT, hlt);
    table.add(ZYDIS_MNEMONIC_XGETBV, xgetbv);
    table.add(ZYDIS_MNEMONIC_XSETBV, xsetbv);
}

}  // namespace dualvm::interp
