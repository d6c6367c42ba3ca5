#include "difference.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm::study {

namespace {

constexpr u8 kPageFault = 14, kSimdException = 19;
constexpr u64 kUserEnd = (u64{1} << 47) - kPageSize;  // Linux leaves the last page free

std::string flags_text(u64 flags) {
    static constexpr std::pair<u64, const char*> kNames[] = {{rflags::OF, "OF"}, {rflags::SF, "SF"}, {rflags::ZF, "ZF"},
                                                             {rflags::AF, "AF"}, {rflags::PF, "PF"}, {rflags::CF, "CF"},
                                                             {rflags::DF, "DF"}, {rflags::TF, "TF"}, {rflags::NT, "NT"},
                                                             {rflags::AC, "AC"}, {rflags::ID, "ID"}};
    std::string text;
    for (const auto& [bit, name] : kNames) {
        if ((flags & bit) != 0) text += (text.empty() ? "" : " ") + std::string(name);
    }
    return text.empty() ? "none" : text;
}

std::string hex(std::span<const u8> bytes) {
    std::string text;
    for (u8 b : bytes) text += fmt::format("{:02x}", b);
    return text;
}

std::string ending_text(const CaseResult& r) {
    switch (r.ending) {
        case Ending::Exception: return vector_name(r.vector);
        case Ending::NoEnd: return "no end";
        case Ending::SystemCall: return "a system call";
        case Ending::Lost: return r.text;
    }
    return "?";
}

class Comparer {
public:
    template <class T>
    void number(const std::string& field, T oracle, T tested) {
        if (oracle != tested) text(field, fmt::format("{:#x}", oracle), fmt::format("{:#x}", tested));
    }
    void text(std::string field, std::string oracle, std::string tested) {
        if (oracle != tested) found.push_back({std::move(field), std::move(oracle), std::move(tested)});
    }
    std::vector<FieldDifference> found;
};

// What the instruction that raised the exception left behind, where that is up to the CPU.
struct Leeway {
    bool mmx = false;        // whether the x87 registers had become MMX registers already
    bool place = false;      // which byte of a large operand faulted first
    bool partial = false;    // whether parts of a large operand were stored
    bool registers = false;  // whether some of several registers were loaded
    u32 mxcsr = 0;           // flags, see leeway()
};

Leeway leeway(const CaseInstruction* i, const CaseResult& oracle, bool other_maker) {
    Leeway leeway;
    if (i == nullptr || oracle.ending != Ending::Exception) return leeway;
    for (const ZydisDecodedOperand& o : i->decoded.all()) {
        if (o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_MMX) {
            leeway.mmx = true;
        }
        if (o.type == ZYDIS_OPERAND_TYPE_MEMORY && (o.size == 80 || (o.size > 80 && o.size != 128))) {
            leeway.place = leeway.partial = true;
        }
    }
    switch (i->decoded.zydis.mnemonic) {
        case ZYDIS_MNEMONIC_MASKMOVQ:
        case ZYDIS_MNEMONIC_MASKMOVDQU: leeway.place = true; break;
        // The return address may be on the stack already when the target turns out not to be canonical.
        case ZYDIS_MNEMONIC_CALL:
        // Several pushes.
        case ZYDIS_MNEMONIC_ENTER:
        case ZYDIS_MNEMONIC_PUSHA:
        case ZYDIS_MNEMONIC_PUSHAD: leeway.partial = leeway.place = true; break;
        case ZYDIS_MNEMONIC_POPA:
        case ZYDIS_MNEMONIC_POPAD: leeway.registers = true; break;
        default: break;
    }
    // Whether an underflow or overflow that is not masked is also inexact is asked of a result without limits to its
    // exponent (SDM vol. 1, 4.9.1.5), which the host does not show.
    constexpr u32 kOverflowUnderflow = 0x18, kPrecision = 0x20;
    const u32 unmasked = oracle.fpu.mxcsr & ~(oracle.fpu.mxcsr >> 7) & 0x3f;
    if (oracle.vector == kSimdException && (unmasked & kOverflowUnderflow) != 0) leeway.mxcsr = kPrecision;
    // A dot product of four numbers adds two pairs. The manual writes these sums one after the other (SDM vol. 2A,
    // "DPPS"), with the first's exceptions before the second; CPUs of the other maker take them as one step, and so
    // does the interpreter. What this maker's do was not seen yet: there only #XM itself is compared.
    const ZydisMnemonic m = i->decoded.zydis.mnemonic;
    if (oracle.vector == kSimdException && m == ZYDIS_MNEMONIC_DPPS && !other_maker) leeway.mxcsr = 0x3f;
    return leeway;
}

void compare_fpu(Comparer& compare, const Case& c, const FpuGroup& oracle, const FpuGroup& tested, const Leeway& leeway,
                 bool other_maker, bool several) {
    constexpr u16 kTop = 0x3800;
    const u16 ignored = leeway.mmx ? kTop : u16{0};
    compare.number("fcw", oracle.fcw, tested.fcw);
    compare.number("fsw", oracle.fsw & ~ignored, tested.fsw & ~ignored);
    if (!leeway.mmx) compare.number("ftw", oracle.ftw, tested.ftw);
    // Pointers have 32 bits in 32-bit code. Not every maker's CPUs keep them without an exception (SDM vol. 1, 8.1.8).
    const u64 mask = c.long_mode() ? ~u64{0} : 0xffffffff;
    if (!other_maker) compare.number("fip", oracle.fip & mask, tested.fip & mask);
    // CPUs that store opcode and data pointer with unmasked exceptions only are not told from those that always do
    // (CPUID.7.EBX[6]; SDM vol. 1, 8.1.8 and 8.1.9): where an exception waits, all of them have stored both.
    // Not so where an instruction before, or FLDCW behind, has to do with it: a CPU that always stores them has the
    // last one's (SDM vol. 1, 8.1.9.1; APM vol. 1, 6.2.4).
    constexpr u16 kErrorSummary = 0x80;
    if ((oracle.fsw & kErrorSummary) != 0 && !(other_maker && several)) {
        compare.number("fdp", oracle.fdp & mask, tested.fdp & mask);
        compare.number("fop", oracle.fop, tested.fop);
    }
    for (unsigned i = 0; i < 8; ++i) {
        const X87Register &a = oracle.st[i], &b = tested.st[i];
        if (a == b) continue;
        compare.text(fmt::format("r{}", i), fmt::format("{:04x}:{:016x}", a.sign_exponent, a.significand),
                     fmt::format("{:04x}:{:016x}", b.sign_exponent, b.significand));
    }
    compare.number("mxcsr", oracle.mxcsr | leeway.mxcsr, tested.mxcsr | leeway.mxcsr);
    for (unsigned i = 0; i < 16; ++i) {
        const auto a = std::span(oracle.vector[i].bytes).first(16), b = std::span(tested.vector[i].bytes).first(16);
        if (!std::equal(a.begin(), a.end(), b.begin())) compare.text(fmt::format("xmm{}", i), hex(a), hex(b));
    }
}

void compare_window(Comparer& compare, const Window& oracle, const Window& tested) {
    if (oracle == tested) return;
    const auto first = std::mismatch(oracle.begin(), oracle.end(), tested.begin()).first - oracle.begin();
    const auto at = static_cast<std::size_t>(first);
    const std::size_t length = std::min<std::size_t>(16, oracle.size() - at);
    compare.text(fmt::format("[{:x}]", ring3::kWindow + at), hex(std::span(oracle).subspan(at, length)),
                 hex(std::span(tested).subspan(at, length)));
}

bool is_memory_fault(u8 vector) {
    constexpr u8 kStackFault = 12, kGeneralProtection = 13, kAlignmentCheck = 17;
    return vector == kStackFault || vector == kGeneralProtection || vector == kPageFault || vector == kAlignmentCheck;
}

bool is_x87_store(ZydisMnemonic m) {
    switch (m) {
        case ZYDIS_MNEMONIC_FST:
        case ZYDIS_MNEMONIC_FSTP:
        case ZYDIS_MNEMONIC_FIST:
        case ZYDIS_MNEMONIC_FISTP:
        case ZYDIS_MNEMONIC_FISTTP:
        case ZYDIS_MNEMONIC_FBSTP: return true;
        default: return false;
    }
}

// Executes with an x87 exception pending, and there is none behind it.
bool forgets_x87_exceptions(ZydisMnemonic m) {
    switch (m) {
        case ZYDIS_MNEMONIC_FNINIT:
        case ZYDIS_MNEMONIC_FNCLEX:
        case ZYDIS_MNEMONIC_FNSAVE:
        case ZYDIS_MNEMONIC_FXRSTOR:
        case ZYDIS_MNEMONIC_FXRSTOR64: return true;
        default: return false;
    }
}

// Faults of one instruction that have no order between them: they are of one class in SDM vol. 3A, table 6-2, "faults
// on executing an instruction", and of one in APM vol. 2, 8.4. The model does as its maker's CPUs, the oracle's maker
// otherwise.
bool other_order(const CaseAnalysis& analysis, const CaseInstruction& i, const CaseResult& oracle,
                 const CaseResult& tested) {
    constexpr u8 kAlignmentCheck = 17;
    constexpr u16 kErrorSummary = 0x80;
    const auto either = [&](u8 a, u8 b) {
        return (oracle.vector == a && tested.vector == b) || (oracle.vector == b && tested.vector == a);
    };
    constexpr u8 kInvalidOpcode = 6, kGeneralProtection = 13;
    if (oracle.general.rip == tested.general.rip &&
        (either(kAlignmentCheck, kPageFault) || either(kAlignmentCheck, kGeneralProtection))) {
        return true;
    }
    // Instructions with a ModRM byte that are undefined whatever it holds (UD1) may be so before it is fetched.
    if (i.cut_off && oracle.vector == kInvalidOpcode && tested.vector == kPageFault) return true;
    // LOCK before a privileged instruction: neither is allowed.
    if (i.illegal_lock && oracle.vector == kGeneralProtection && tested.vector == kInvalidOpcode) return true;
    // Operands of 16 bytes that need not be aligned: AMD's CPUs check them for alignment (APM vol. 2, 8.2.18).
    const auto wide = [](const ZydisDecodedOperand& o) { return o.type == ZYDIS_OPERAND_TYPE_MEMORY && o.size >= 128; };
    const auto operands = i.decoded.all();
    if (oracle.vector == kAlignmentCheck && std::any_of(operands.begin(), operands.end(), wide)) return true;
    // A store that an unmasked exception stops does not reach memory, or faults there first.
    if (!is_x87_store(i.decoded.zydis.mnemonic) || !is_memory_fault(oracle.vector)) return false;
    const bool forgotten =
        std::any_of(analysis.instructions.begin(), analysis.instructions.end(), [&](const auto& later) {
            return later.offset > i.offset && forgets_x87_exceptions(later.decoded.zydis.mnemonic);
        });
    constexpr u16 kMasks = 0x3f;
    return forgotten ? (~oracle.fpu.fcw & kMasks) != 0 : (tested.fpu.fsw & ~oracle.fpu.fsw & kErrorSummary) != 0;
}

// Two exceptions of one instruction, of which either may come first.
bool either_will_do(const Case& c, const CaseInstruction* i, const CaseResult& oracle, const CaseResult& tested) {
    constexpr u8 kBoundRange = 5, kStackFault = 12, kGeneralProtection = 13, kAlignmentCheck = 17;
    constexpr u64 kNearEnd = 0xffffff00;
    if (i == nullptr) return false;
    // It may be checked for alignment (SDM vol. 2B, "MASKMOVDQU").
    if (oracle.vector == kAlignmentCheck && i->decoded.zydis.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU) return true;
    if (oracle.vector == tested.vector || oracle.general.rip != tested.general.rip) return false;
    const auto one_of = [&](auto first, auto second) {
        return (first(oracle) && second(tested)) || (first(tested) && second(oracle));
    };
    const auto protection = [](const CaseResult& r) { return r.vector == kGeneralProtection; };
    // An operand that runs over the end of a 4 GiB segment may or may not be a violation of its limit (SDM vol.
    // 3A, 5.3).
    const auto limit = [&](const CaseResult& r) { return protection(r) || r.vector == kStackFault; };
    const auto at_end = [](const CaseResult& r) { return r.vector == kPageFault && r.cr2 >= kNearEnd; };
    const auto alignment = [](const CaseResult& r) { return r.vector == kAlignmentCheck; };
    if (!c.long_mode() && (one_of(limit, at_end) || one_of(limit, alignment))) return true;
    const ZydisDecodedInstruction& zydis = i->decoded.zydis;
    // An operand of 16 bytes relative to the stack that is neither canonical nor aligned.
    const auto wide = [](const ZydisDecodedOperand& o) { return o.type == ZYDIS_OPERAND_TYPE_MEMORY && o.size >= 128; };
    const auto operands = i->decoded.all();
    if (std::any_of(operands.begin(), operands.end(), wide) &&
        one_of(protection, [](const CaseResult& r) { return r.vector == kStackFault; })) {
        return true;
    }
    switch (zydis.mnemonic) {
        // SDM vol. 2A, "FXSAVE", on #AC.
        case ZYDIS_MNEMONIC_FXSAVE:
        case ZYDIS_MNEMONIC_FXSAVE64:
        case ZYDIS_MNEMONIC_FXRSTOR:
        case ZYDIS_MNEMONIC_FXRSTOR64: return one_of(protection, alignment);
        // The lower bound may be looked at before the upper one is read.
        case ZYDIS_MNEMONIC_BOUND: return oracle.vector == kBoundRange || tested.vector == kBoundRange;
        // A target that is not canonical, and a stack that does not take the return address.
        case ZYDIS_MNEMONIC_CALL: return one_of(protection, [&](const CaseResult& r) { return !protection(r); });
        default: return false;
    }
}

}  // namespace

const char* register_name(CpuMode mode, unsigned gpr) {
    static constexpr const char* kWide[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                            "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static constexpr const char* kNarrow[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
    return mode == CpuMode::Long64 || gpr >= 8 ? kWide[gpr] : kNarrow[gpr];
}

std::string vector_name(u8 vector) {
    static constexpr const char* kNames[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9",  "#TS",
                                             "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM", "#VE"};
    return vector < std::size(kNames) ? kNames[vector] : std::to_string(vector);
}

const char* nothing_to_learn(const Case& c, const CaseAnalysis& analysis, const CaseResult& oracle,
                             const CaseResult& tested, const Distrust& distrust) {
    if (oracle.ending == Ending::SystemCall) return "it called the operating system";
    if (oracle.ending == Ending::Lost) return "the oracle lost it";
    // A host with five levels of page tables has canonical addresses that this CPU model has not.
    const u64 high = oracle.cr2 >> 47;
    if (oracle.vector == kPageFault && high != 0 && high != 0x1ffff) return "the host's addresses are wider";
    const auto distrusted = [&](const CaseResult& r) {
        return r.ending == Ending::Exception && !r.reached_filler(c) && (distrust.vectors >> (r.vector & 31) & 1) != 0;
    };
    if (distrusted(oracle) || distrusted(tested)) return "the oracle's host answers such exceptions itself";
    const auto canonical = [](u64 address) { return canonical_form(address) == address; };
    if (distrust.wild_stack && !canonical(c.gpr[RSP])) return "the oracle's host wants a canonical RSP";
    if (distrust.vectors != 0 && !(canonical(c.gpr[RSP]) && canonical(tested.general.gpr[RSP]))) {
        return "the oracle's host emulates while RSP is not canonical";
    }
    // PVM's hypercalls for programs: INT n of its own, which raise no #GP (SDM vol. 2A, "INT n").
    const CaseInstruction* stopped = analysis.at(c, tested.general.rip);
    const bool refused = oracle.error_code == tested.error_code && oracle.general.rip == tested.general.rip;
    if (stopped != nullptr && stopped->decoded.zydis.mnemonic == ZYDIS_MNEMONIC_INT && tested.error_code != 0 &&
        !refused) {
        return "the oracle's host answers INT n itself";
    }
    if (distrust.int1 && analysis.has_int1) return "the oracle's host answers INT1 itself";
    constexpr u32 kMisalignedMask = 1u << 17;  // MXCSR.MM is AMD's alone (APM vol. 1, 4.2.2)
    if (distrust.other_maker && (oracle.fpu.mxcsr & kMisalignedMask) != 0) return "MXCSR has another bit there";
    if (distrust.other_maker && analysis.makers_differ) return "CPUs of other makers differ there";
    if (distrust.other_maker && analysis.makers_fault_differently &&
        !(oracle.reached_filler(c) && tested.reached_filler(c))) {
        return "CPUs of other makers fault differently there";
    }
    if (distrust.flags != 0 && analysis.reads_flags) return "the oracle loses flags";
    if (distrust.selectors && analysis.reads_selectors) return "the oracle has other selectors";
    return nullptr;
}

std::vector<FieldDifference> compare_results(const Case& c, const CaseAnalysis& analysis, const CaseResult& oracle,
                                             const CaseResult& tested, const Distrust& distrust) {
    Comparer compare;
    const bool both = oracle.ending == Ending::Exception && tested.ending == Ending::Exception;
    if (const CaseInstruction* i = analysis.at(c, oracle.general.rip);
        both && distrust.other_maker && i != nullptr && other_order(analysis, *i, oracle, tested)) {
        return {};
    }
    if (both && either_will_do(c, analysis.at(c, oracle.general.rip), oracle, tested)) return {};
    compare.text("ending", ending_text(oracle), ending_text(tested));
    if (!both) return compare.found;
    // Linux says of every address in its own half that there is a page.
    const bool behind_user = oracle.vector == kPageFault && oracle.cr2 >= kUserEnd;
    const Leeway leeway = study::leeway(analysis.at(c, oracle.general.rip), oracle, distrust.other_maker);
    const u32 hidden = behind_user || leeway.place ? 1 : 0;
    compare.number("error code", oracle.error_code | hidden, tested.error_code | hidden);
    if (!leeway.place) compare.number("cr2", oracle.cr2, tested.cr2);
    const u64 mask = c.long_mode() ? ~u64{0} : 0xffffffff;
    compare.number("rip", oracle.general.rip, tested.general.rip);
    for (unsigned i = 0; i < (c.long_mode() ? 16u : 8u) && !leeway.registers; ++i) {
        compare.number(register_name(c.mode, i), oracle.general.gpr[i] & mask, tested.general.gpr[i] & mask);
    }
    constexpr u64 kFlags = ring3::kFreeFlags | rflags::IF | rflags::IOPL | rflags::VM | rflags::VIF | rflags::VIP;
    u64 flags = kFlags & ~analysis.undefined_at(c, oracle.general.rip) & ~distrust.flags;
    // REPE and REPNE that fault give the flags back that they began with, says Intel alone (SDM vol. 2B, "REP").
    if (const CaseInstruction* i = analysis.at(c, oracle.general.rip);
        i != nullptr && distrust.other_maker && i->decoded.has(ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) {
        flags &= ~u64{rflags::Arithmetic};
    }
    compare.text("rflags", flags_text(oracle.general.rflags & flags), flags_text(tested.general.rflags & flags));
    compare_fpu(compare, c, oracle.fpu, tested.fpu, leeway, distrust.other_maker, analysis.instructions.size() > 1);
    if (!leeway.partial) compare_window(compare, oracle.window, tested.window);
    return compare.found;
}

}  // namespace dualvm::study
