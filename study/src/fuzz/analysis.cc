#include "analysis.h"

#include <algorithm>
#include <optional>

#include "instruction_maker.h"

namespace dualvm::study {

namespace {

using rflags::AF, rflags::CF, rflags::OF, rflags::PF, rflags::SF, rflags::ZF;

// A shift's count where it is known before the case runs: an immediate, or CL if that is.
std::optional<unsigned> shift_count(const DecodedInstruction& d, std::optional<u64> cl) {
    const ZydisDecodedOperand& last = d.visible().back();
    const unsigned mask = d.zydis.operand_width == 64 ? 63 : 31;
    if (last.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return static_cast<unsigned>(last.imm.value.u) & mask;
    if (cl) return static_cast<unsigned>(*cl) & mask;
    return std::nullopt;
}

// What CL holds: known in the first instruction.
std::optional<u64> count_register(const Case& c, const CaseInstruction& i) {
    if (i.offset == 0) return c.gpr[RCX];
    return std::nullopt;
}

bool is_double_shift(ZydisMnemonic m) { return m == ZYDIS_MNEMONIC_SHLD || m == ZYDIS_MNEMONIC_SHRD; }

// SDM vol. 2B, "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD", "SHRD": what is undefined depends on the count.
u64 undefined_by_shift(ZydisMnemonic m, unsigned width, std::optional<unsigned> count, u64 zydis) {
    const u64 most = is_double_shift(m) ? rflags::Arithmetic : zydis | OF;
    if (!count) return m == ZYDIS_MNEMONIC_SHL || m == ZYDIS_MNEMONIC_SHR ? most | CF : most;
    if (*count == 0) return 0;
    const u64 overflow = *count > 1 ? u64{OF} : 0;
    switch (m) {
        case ZYDIS_MNEMONIC_SHL:
        case ZYDIS_MNEMONIC_SHR: return AF | overflow | (*count >= width ? u64{CF} : 0);
        case ZYDIS_MNEMONIC_SAR: return AF | overflow;
        case ZYDIS_MNEMONIC_SHLD:
        case ZYDIS_MNEMONIC_SHRD: return *count > width ? u64{rflags::Arithmetic} : AF | overflow;
        default: return overflow;  // rotates
    }
}

bool is_shift(ZydisMnemonic m) {
    switch (m) {
        case ZYDIS_MNEMONIC_SHL:
        case ZYDIS_MNEMONIC_SHR:
        case ZYDIS_MNEMONIC_SAR:
        case ZYDIS_MNEMONIC_ROL:
        case ZYDIS_MNEMONIC_ROR:
        case ZYDIS_MNEMONIC_RCL:
        case ZYDIS_MNEMONIC_RCR: return true;
        default: return is_double_shift(m);
    }
}

// Copies flags to where they are data; not every one of these is marked so in Zydis's tables.
bool stores_flags(ZydisMnemonic m) {
    return m == ZYDIS_MNEMONIC_PUSHF || m == ZYDIS_MNEMONIC_PUSHFD || m == ZYDIS_MNEMONIC_PUSHFQ ||
           m == ZYDIS_MNEMONIC_LAHF;
}

// An instruction that may do nothing leaves undefined flags as they are.
bool may_do_nothing(const CaseInstruction& i) {
    const bool repeated = i.decoded.has(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    return repeated || is_shift(i.decoded.zydis.mnemonic);
}

// Where the manuals of Intel and AMD allow both, and the interpreter does as Intel's CPUs do.
bool makers_differ(const DecodedInstruction& d) {
    const ZydisDecodedInstruction& i = d.zydis;
    // Upper halves of registers that 32-bit addresses do not use.
    if (i.meta.category == ZYDIS_CATEGORY_STRINGOP && i.address_width == 32) return true;
    // AMD takes a near branch with an operand-size prefix for one with a 16-bit target, Intel ignores the prefix (APM
    // vol. 3, "JMP (Near)"; SDM vol. 2A, "JMP").
    const bool near = i.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT || i.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR ||
                      i.mnemonic == ZYDIS_MNEMONIC_RET;
    if (near && i.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 && d.has(ZYDIS_ATTRIB_HAS_OPERANDSIZE)) return true;
    // A repeat prefix before LOOPE or LOOPNE is reserved (SDM vol. 2A, 2.1.1; APM vol. 3, 1.2.6): AMD's CPUs take its
    // condition for the instruction's.
    const bool repeat = std::any_of(i.raw.prefixes, i.raw.prefixes + i.raw.prefix_count,
                                    [](const auto& prefix) { return prefix.value == 0xf2 || prefix.value == 0xf3; });
    if (repeat && (i.mnemonic == ZYDIS_MNEMONIC_LOOPE || i.mnemonic == ZYDIS_MNEMONIC_LOOPNE)) return true;
    // 0F 0D with a register is a NOP to Intel's CPUs, and undefined to those that know PREFETCHW (APM vol. 3,
    // "PREFETCH").
    if (i.mnemonic == ZYDIS_MNEMONIC_NOP && i.opcode_map == ZYDIS_OPCODE_MAP_0F && i.opcode == 0x0d) return true;
    // 90h with REX.B is XCHG R8, RAX; with F3h before, the makers disagree whether it is PAUSE all the same.
    if (i.mnemonic == ZYDIS_MNEMONIC_PAUSE && (i.raw.rex.B != 0)) return true;
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_PUSH:  // of a segment register: bits that are not written
            return d.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                   ZydisRegisterGetClass(d.operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
        // The x87 pointers, stored with every instruction or with exceptions only.
        case ZYDIS_MNEMONIC_FNSTENV:
        case ZYDIS_MNEMONIC_FNSAVE:
        case ZYDIS_MNEMONIC_FXSAVE:
        case ZYDIS_MNEMONIC_FXSAVE64:
        // Not in AMD's long mode (APM vol. 3, "SYSEXIT").
        case ZYDIS_MNEMONIC_SYSENTER:
        case ZYDIS_MNEMONIC_SYSEXIT:
        // Whether it may also read 32 bits.
        case ZYDIS_MNEMONIC_MOVSXD: return true;
        // AMD has it outside 64-bit mode, too (APM vol. 3, "SYSRET"; SDM vol. 2B, "SYSRET").
        case ZYDIS_MNEMONIC_SYSRET: return i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64;
        default: return false;
    }
}

// Bytes that end in the middle of a near branch with an operand-size prefix: it has a 16-bit offset to AMD's CPUs, and
// may be whole.
bool begins_narrow_branch(std::span<const u8> bytes) {
    bool narrow = false;
    std::size_t at = 0;
    const auto is_prefix = [](u8 b) {
        return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3 || b == 0x2e || b == 0x36 || b == 0x3e ||
               b == 0x26 || b == 0x64 || b == 0x65 || (b & 0xf0) == 0x40;
    };
    for (; at < bytes.size() && is_prefix(bytes[at]); ++at) narrow = narrow || bytes[at] == 0x66;
    const bool conditional = at + 1 < bytes.size() && bytes[at] == 0x0f && (bytes[at + 1] & 0xf0) == 0x80;
    const bool other = at < bytes.size() && (bytes[at] == 0xe8 || bytes[at] == 0xe9);
    return narrow && (conditional || other);
}

// Which of two places faults first, or how, is the maker's; without a fault all agree.
bool makers_fault_differently(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_CMPSB:
        case ZYDIS_MNEMONIC_CMPSW:
        case ZYDIS_MNEMONIC_CMPSD:
        case ZYDIS_MNEMONIC_CMPSQ:
        case ZYDIS_MNEMONIC_ARPL:
        case ZYDIS_MNEMONIC_BOUND:
        case ZYDIS_MNEMONIC_CALL:
        case ZYDIS_MNEMONIC_MASKMOVQ:
        case ZYDIS_MNEMONIC_MASKMOVDQU: return true;
        default: return false;
    }
}

// The result itself is undefined: a double shift by more than the operand has bits.
bool result_undefined(const DecodedInstruction& d, std::optional<u64> cl) {
    if (!is_double_shift(d.zydis.mnemonic) || d.zydis.operand_width != 16) return false;
    const auto count = shift_count(d, cl);
    return !count || *count > 16;
}

u64 undefined_flags(const DecodedInstruction& d, std::optional<u64> cl) {
    const ZydisDecodedInstruction& zydis = d.zydis;
    // Zydis 4.0 has AF undefined behind SBB; it is what the subtraction makes it (SDM vol. 2B, "SBB").
    if (zydis.mnemonic == ZYDIS_MNEMONIC_SBB) return 0;
    const u64 undefined = zydis.cpu_flags->undefined & rflags::Arithmetic;
    if (!is_shift(zydis.mnemonic)) return undefined;
    return undefined_by_shift(zydis.mnemonic, zydis.operand_width, shift_count(d, cl), undefined);
}

}  // namespace

u64 flags_left_undefined(const DecodedInstruction& instruction, u64 cl) { return undefined_flags(instruction, cl); }

bool result_left_undefined(const DecodedInstruction& instruction, u64 cl) { return result_undefined(instruction, cl); }

const CaseInstruction* CaseAnalysis::at(const Case& c, u64 rip) const {
    for (const CaseInstruction& i : instructions) {
        if (c.code_begin() + i.offset == rip) return &i;
    }
    return nullptr;
}

u64 CaseAnalysis::undefined_at(const Case& c, u64 rip) const {
    if (const CaseInstruction* i = at(c, rip)) return i->undefined_before;
    return undefined_at_end;
}

Analyser::Analyser(const CpuModel& model) : wide_(CodeMode::Bits64, model), narrow_(CodeMode::Bits32, model) {}

CaseAnalysis Analyser::analyse(const Case& c) const {
    const ModelDecoder& decoder = this->decoder(c.mode);
    CaseAnalysis analysis;
    u64 undefined = 0, ever = 0;
    bool branches = false;
    for (u64 at = 0; at < c.code.size();) {
        CaseInstruction i;
        i.offset = at;
        i.undefined_before = undefined;
        const auto rest = std::span(c.code).subspan(at);
        const ZyanStatus status = decoder.decode(rest, i.decoded);
        if (!ZYAN_SUCCESS(status)) {
            // It raises #UD, or #PF where the page ends in its middle; what follows is not reached.
            i.illegal_lock = is_illegal_lock(status);
            i.length = static_cast<unsigned>(rest.size());
            const bool cut_off =
                status == ZYDIS_STATUS_NO_MORE_DATA && c.code_end() == ring3::kCode + ring3::kCodeBytes;
            i.cut_off = cut_off;
            if (cut_off && c.long_mode() && begins_narrow_branch(rest)) analysis.makers_differ = true;
            if (!i.illegal_lock && !cut_off) analysis.tainted = true;
            analysis.instructions.push_back(i);
            break;
        }
        const ZydisDecodedInstruction& zydis = i.decoded.zydis;
        i.length = zydis.length;
        const std::optional<u64> cl = count_register(c, i);
        const u64 now = undefined_flags(i.decoded, cl);
        u64 defined = (zydis.cpu_flags->modified | zydis.cpu_flags->set_0 | zydis.cpu_flags->set_1) & ~now;
        // What Zydis has undefined and is not: a shift whose count does not make it so leaves it as it was.
        const u64 after_all = zydis.cpu_flags->undefined & rflags::Arithmetic & ~now;
        defined = is_shift(zydis.mnemonic) ? defined & ~after_all : defined | after_all;
        if ((zydis.cpu_flags->tested & undefined) != 0 || (undefined != 0 && stores_flags(zydis.mnemonic)) ||
            result_undefined(i.decoded, cl)) {
            analysis.tainted = true;
        }
        if (!may_do_nothing(i)) undefined &= ~defined;
        undefined |= now;
        ever |= now;
        branches = branches || zydis.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
        analysis.makers_differ = analysis.makers_differ || makers_differ(i.decoded);
        analysis.makers_fault_differently =
            analysis.makers_fault_differently || makers_fault_differently(zydis.mnemonic);
        analysis.reads_flags = analysis.reads_flags || stores_flags(zydis.mnemonic);
        analysis.has_int1 = analysis.has_int1 || zydis.mnemonic == ZYDIS_MNEMONIC_INT1;
        for (const ZydisDecodedOperand& o : i.decoded.visible()) {
            if (o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_SEGMENT) {
                analysis.reads_selectors = true;
            }
        }
        analysis.instructions.push_back(i);
        at += i.length;
    }
    // A branch may have skipped what defines a flag again.
    analysis.undefined_at_end = branches ? ever : undefined;
    return analysis;
}

}  // namespace dualvm::study
