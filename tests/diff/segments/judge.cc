#include "judge.h"

#include <fmt/format.h>

#include <algorithm>

#include "dualvm/study/disassembler.h"
#include "fuzz/analysis.h"
#include "fuzz/difference.h"

namespace dualvm::segments {

namespace {

enum Field : unsigned {
    FieldEnding = 1,
    FieldVector = 2,
    FieldErrorCode = 4,
    FieldCr2 = 8,
    FieldRip = 16,
    FieldFlags = 32,
    FieldRegisters = 64,
    FieldSegments = 128,
    FieldFpu = 256,
    FieldData = 512,
};

constexpr u8 kDebug = 1, kNotPresent = 11, kStackFault = 12, kGeneralProtection = 13, kPageFault = 14,
             kAlignmentCheck = 17;

bool is_memory_fault(u8 vector) {
    return vector == kStackFault || vector == kGeneralProtection || vector == kPageFault || vector == kAlignmentCheck;
}

constexpr u64 kComparedFlags = rflags::Arithmetic | rflags::TF | rflags::IF | rflags::DF | rflags::IOPL | rflags::NT |
                               rflags::VM | rflags::AC | rflags::VIF | rflags::VIP | rflags::ID;

class Comparer {
public:
    template <class T>
    void number(Field field, const std::string& name, T native, T interpreter) {
        if (native != interpreter) text(field, name, fmt::format("{:x}", native), fmt::format("{:x}", interpreter));
    }
    void text(Field field, const std::string& name, const std::string& native, const std::string& interpreter) {
        fields |= field;
        lines += fmt::format("  {:<11} native {}, interpreter {}\n", name, native, interpreter);
    }
    unsigned fields = 0;
    std::string lines;
};

std::string ending_text(const Result& r) {
    switch (r.ending) {
        case Ending::Exception: return study::vector_name(r.vector);
        case Ending::NoEnd: return "no end";
        case Ending::SystemCall: return "a system call";
        case Ending::Lost: return "lost";
    }
    return "?";
}

// Flags that the manual leaves undefined behind the case's instruction, if it was executed.
u64 undefined_flags(const SegmentCase& c, const Result& native) {
    const bool executed = native.state.rip != c.state.rip || native.vector == kDebug;
    return executed ? study::flags_left_undefined(c.instruction, c.state.gpr[RCX]) : 0;
}

void compare_fpu(Comparer& compare, const FpuGroup& a, const FpuGroup& b) {
    compare.number(FieldFpu, "fcw", a.fcw, b.fcw);
    compare.number(FieldFpu, "fsw", a.fsw, b.fsw);
    compare.number(FieldFpu, "ftw", a.ftw, b.ftw);
    compare.number(FieldFpu, "mxcsr", a.mxcsr, b.mxcsr);
    for (unsigned i = 0; i < 8; ++i) {
        if (!(a.st[i] == b.st[i]))
            compare.number(FieldFpu, fmt::format("r{}", i), a.st[i].significand, b.st[i].significand);
        if (a.vector[i].bytes != b.vector[i].bytes) compare.text(FieldFpu, fmt::format("xmm{}", i), "one", "another");
    }
}

// Where data differ, first and last byte, as offsets from kData.
struct Span {
    u64 first = 0, last = 0;
};
Span differing_data(const Result& a, const Result& b) {
    const auto first = std::mismatch(a.data.begin(), a.data.end(), b.data.begin()).first - a.data.begin();
    const auto last = std::mismatch(a.data.rbegin(), a.data.rend(), b.data.rbegin()).first - a.data.rbegin();
    return {static_cast<u64>(first), kBytes - 1 - static_cast<u64>(last)};
}

Comparer compare_results(const SegmentCase& c, const Result& native, const Result& interpreter) {
    Comparer compare;
    if (native.ending != interpreter.ending) {
        compare.text(FieldEnding, "ending", ending_text(native), ending_text(interpreter));
    }
    if (native.ending != Ending::Exception || interpreter.ending != Ending::Exception) return compare;
    const State &a = native.state, &b = interpreter.state;
    if (native.vector != interpreter.vector) {
        compare.text(FieldVector, "exception", ending_text(native), ending_text(interpreter));
    }
    compare.number(FieldErrorCode, "error code", native.error_code, interpreter.error_code);
    compare.number(FieldCr2, "cr2", native.cr2, interpreter.cr2);
    compare.number(FieldRip, "rip", a.rip, b.rip);
    const u64 flags = kComparedFlags & ~undefined_flags(c, native);
    compare.number(FieldFlags, "eflags", a.rflags & flags, b.rflags & flags);
    for (unsigned i = 0; i < 8; ++i) {
        const char* name = study::register_name(CpuMode::Compatibility32, i);
        compare.number(FieldRegisters, name, a.gpr[i] & 0xffffffff, b.gpr[i] & 0xffffffff);
    }
    // The child reads them behind the kernel's return to ring 3, at which null selectors become 0 (SDM vol. 2A,
    // "IRET").
    const auto seen = [](u16 selector) { return is_null(selector) ? u16{0} : selector; };
    compare.number(FieldSegments, "cs", a.cs, b.cs);
    compare.number(FieldSegments, "ss", a.ss, b.ss);
    compare.number(FieldSegments, "ds", seen(a.ds), seen(b.ds));
    compare.number(FieldSegments, "es", seen(a.es), seen(b.es));
    compare_fpu(compare, a.fpu, b.fpu);
    if (native.data != interpreter.data) {
        const Span span = differing_data(native, interpreter);
        const auto bytes = [&](const Bytes& data) {
            std::string text;
            for (u64 at = span.first; at <= std::min(span.last, span.first + 15); ++at)
                text += fmt::format("{:02x}", data[at]);
            return text;
        };
        compare.text(FieldData, fmt::format("[{:x}]", kData + span.first), bytes(native.data), bytes(interpreter.data));
    }
    return compare;
}

// --- what CPUs may do differently ---------------------------------------------------------------------------------

struct Context {
    const SegmentCase& c;
    const Result &native, &interpreter;
    bool amd;
    unsigned fields;  // that differ

    ZydisMnemonic mnemonic() const { return c.instruction.zydis.mnemonic; }
    bool only(unsigned these) const { return (fields & ~these) == 0; }
    // Both stopped at the instruction itself, with a fault of a memory operand, of whatever kind.
    bool both_fault() const {
        return stopped_at_once() && is_memory_fault(native.vector) && is_memory_fault(interpreter.vector);
    }
    bool one_of(u8 vector) const { return native.vector == vector || interpreter.vector == vector; }
    // Both stopped at the instruction itself, whatever the exception.
    bool stopped_at_once() const {
        return native.ending == Ending::Exception && interpreter.ending == Ending::Exception &&
               native.state.rip == c.state.rip && interpreter.state.rip == c.state.rip;
    }
    bool wide_operand() const {
        const auto operands = c.instruction.all();
        return std::any_of(operands.begin(), operands.end(), [](const ZydisDecodedOperand& o) {
            return o.type == ZYDIS_OPERAND_TYPE_MEMORY && o.size >= 128;
        });
    }
    bool mmx() const {
        const auto operands = c.instruction.all();
        return std::any_of(operands.begin(), operands.end(), [](const ZydisDecodedOperand& o) {
            return o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_MMX;
        });
    }
    bool wide_push_of_selector() const {
        const ZydisDecodedOperand& o = c.instruction.operands[0];
        return mnemonic() == ZYDIS_MNEMONIC_PUSH && c.instruction.zydis.operand_width == 32 &&
               o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_SEGMENT;
    }
    bool address16() const { return c.instruction.zydis.address_width == 16; }
    bool x87() const { return c.instruction.zydis.meta.isa_ext == ZYDIS_ISA_EXT_X87; }
    // Of the environment, or of all of the unit (SDM vol. 1, 8.1.10 and 8.1.11): 14 to 108 bytes.
    bool image() const {
        const auto operands = c.instruction.visible();
        return std::any_of(operands.begin(), operands.end(), [](const ZydisDecodedOperand& o) {
            return o.type == ZYDIS_OPERAND_TYPE_MEMORY && o.size > 80;
        });
    }
    // A memory operand of so many bits or more runs over the end of what its address size reaches.
    bool operand_wraps(unsigned bits) const {
        const u64 end = address16() ? 0x10000 : u64{1} << 32;
        for (const ZydisDecodedOperand& o : c.instruction.visible()) {
            if (o.type != ZYDIS_OPERAND_TYPE_MEMORY || o.size < bits) continue;
            const auto value = [&](ZydisRegister reg) {
                return reg == ZYDIS_REGISTER_NONE ? 0 : c.state.gpr[static_cast<u8>(ZydisRegisterGetId(reg))];
            };
            const u64 offset =
                static_cast<u64>(o.mem.disp.value) + value(o.mem.base) + value(o.mem.index) * o.mem.scale;
            if ((offset & (end - 1)) + o.size / 8 > end) return true;
        }
        return false;
    }
    bool far_return() const {
        return mnemonic() == ZYDIS_MNEMONIC_IRET || mnemonic() == ZYDIS_MNEMONIC_IRETD ||
               (mnemonic() == ZYDIS_MNEMONIC_RET && far());
    }
    bool far() const { return c.instruction.zydis.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR; }
    // Data differ in the `bytes` below the stack pointer alone, which may wrap.
    bool only_below_stack(u64 bytes) const {
        const SegmentKind& stack = segment_of(c.state.ss);
        const u64 mask = stack.wide ? 0xffffffff : 0xffff;
        for (u64 at = 0; at < kBytes; ++at) {
            const u64 below = (c.state.gpr[RSP] - (kData + at - stack.base)) & mask;
            if (native.data[at] != interpreter.data[at] && (below == 0 || below > bytes)) return false;
        }
        return true;
    }
};

bool is_compare_string(ZydisMnemonic m) {
    return m == ZYDIS_MNEMONIC_CMPSB || m == ZYDIS_MNEMONIC_CMPSW || m == ZYDIS_MNEMONIC_CMPSD;
}

constexpr unsigned kWhichFault = FieldVector | FieldErrorCode | FieldCr2;

// Each rule names what CPUs may differ in, or were seen to, where it shows, and nothing more. Rules with `amd` hold on
// hosts of that maker alone: there the interpreter, which does as Intel's CPUs do, has to differ.
struct Rule {
    const char* name;
    bool (*holds)(const Context&);
};

constexpr Rule kRules[] = {
    // One class of faults, "faults on executing an instruction", has no order (SDM vol. 3A, table 6-2; APM vol.
    // 2, 8.4).
    {"alignment and limit of one operand: either may be looked at first",
     [](const Context& x) {
         return x.both_fault() && x.only(kWhichFault) && x.one_of(kAlignmentCheck) &&
                (x.one_of(kGeneralProtection) || x.one_of(kStackFault) || (x.amd && x.one_of(kPageFault)));
     }},
    // #GP(0) for 16 bytes that are not aligned, #SS(0) for their place (SDM vol. 2B, "MOVAPS").
    {"16 bytes on the stack, neither aligned nor within the limit: either may be looked at first",
     [](const Context& x) {
         return x.both_fault() && x.only(kWhichFault) && x.wide_operand() && x.one_of(kGeneralProtection) &&
                x.one_of(kStackFault);
     }},
    // SDM vol. 3A, 5.3: it may or may not be a violation of the limit.
    {"an operand that runs over the end of 4 GiB: beyond the limit, or in no page",
     [](const Context& x) {
         return !x.address16() && x.operand_wraps(16) && x.both_fault() && x.only(kWhichFault) && x.one_of(kPageFault);
     }},
    // Nothing says in which order an image is read or written; difference.cc in study/src/fuzz has the same.
    {"an x87 image: which of its bytes is found to be in no page first",
     [](const Context& x) { return x.x87() && x.image() && x.both_fault() && x.only(FieldCr2 | FieldErrorCode); }},
    // SDM vol. 2B, "PUSHA": eight pushes; "POPA": eight pops. What was done before one of them faults is not said.
    {"PUSHA that faults may have stored a part",
     [](const Context& x) {
         const bool pusha = x.mnemonic() == ZYDIS_MNEMONIC_PUSHA || x.mnemonic() == ZYDIS_MNEMONIC_PUSHAD;
         return pusha && x.both_fault() && x.only(kWhichFault | FieldData);
     }},
    {"POPA that faults may have loaded some registers",
     [](const Context& x) {
         const bool popa = x.mnemonic() == ZYDIS_MNEMONIC_POPA || x.mnemonic() == ZYDIS_MNEMONIC_POPAD;
         return popa && x.both_fault() && x.only(kWhichFault | FieldRegisters);
     }},
    // With a 32-bit operand size the selector is written alone, or extended with zeros: the manual allows both (SDM
    // vol.
    // 2B, "PUSH"), Intel's CPUs do the former, and with them the interpreter, AMD's the latter. There are two bytes
    // more
    // that may fault, too.
    {"AMD: PUSH of a segment register stores its upper half, too",
     [](const Context& x) {
         if (!x.amd || !x.wide_push_of_selector()) return false;
         if (x.native.state.rip == x.c.state.rip) return is_memory_fault(x.native.vector);
         return x.only(FieldData) && x.only_below_stack(2);
     }},
    // Intel restores them (SDM vol. 2B, "REP"); so does the interpreter.
    {"AMD: REPE and REPNE that are interrupted keep the flags of the last comparison",
     [](const Context& x) {
         const bool repeated = x.c.instruction.has(ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
         const bool trap = x.stopped_at_once() && x.native.vector == kDebug;
         return x.amd && repeated && (x.both_fault() || trap) && x.only(FieldFlags);
     }},
    {"AMD: CMPS reads its operands in the other order",
     [](const Context& x) {
         return x.amd && is_compare_string(x.mnemonic()) && x.both_fault() && x.only(kWhichFault);
     }},
    // Intel checks the target first (SDM vol. 2A, "CALL"): the interpreter has stored nothing then.
    {"AMD: CALL pushes before it checks its target",
     [](const Context& x) {
         if (!x.amd || x.mnemonic() != ZYDIS_MNEMONIC_CALL || !x.stopped_at_once()) return false;
         const bool target = x.interpreter.vector == kGeneralProtection || x.interpreter.vector == kNotPresent;
         const bool same = x.native.vector == x.interpreter.vector;
         if (!target || !(same || is_memory_fault(x.native.vector)) || !x.only(kWhichFault | FieldData)) return false;
         // CS and EIP of a far one, which fails behind its pushes.
         const u64 pushed = x.far() ? 2 * x.c.instruction.zydis.operand_width / 8 : 0;
         return x.only_below_stack(pushed);
     }},
    // Not in the manual: as if the return were one to an outer level, whose stack pointer is behind what is released.
    {"AMD: far returns read all that they may pop before they look at any of it",
     [](const Context& x) {
         return x.amd && x.far_return() && x.stopped_at_once() && is_memory_fault(x.native.vector) &&
                x.native.vector != kGeneralProtection && x.only(kWhichFault);
     }},
    // APM vol. 2, 8.2.18; Intel checks none of these (SDM vol. 3A, 6.15, "Interrupt 17").
    {"AMD: operands of 16 bytes that need not be aligned are checked for alignment",
     [](const Context& x) {
         return x.amd && x.wide_operand() && x.native.vector == kAlignmentCheck && x.native.state.rip == x.c.state.rip;
     }},
    // Not in the manual; as if the next instruction were looked at though the branch is taken.
    {"AMD: a conditional branch that ends with the last byte of its segment is #GP(0) though it is taken",
     [](const Context& x) {
         const u64 end = x.c.state.rip + x.c.instruction.zydis.length;
         return x.amd && end == u64{segment_of(x.c.state.cs).limit} + 1 &&
                x.c.instruction.zydis.meta.category == ZYDIS_CATEGORY_COND_BR &&
                x.native.vector == kGeneralProtection && x.native.error_code == 0 &&
                x.native.state.rip == x.c.state.rip;
     }},
    // Not in the manual. The interpreter has a large operand as one, whose bytes follow each other.
    {"AMD: parts of an x87 operand wrap round at the end of 16-bit addresses",
     [](const Context& x) { return x.amd && x.x87() && x.address16() && x.operand_wraps(80); }},
    // APM vol. 3, "SYSRET" and "SYSEXIT"; SDM vol. 2B, the same.
    {"AMD: SYSRET and not SYSEXIT exists outside 64-bit mode",
     [](const Context& x) {
         const bool either = x.mnemonic() == ZYDIS_MNEMONIC_SYSRET || x.mnemonic() == ZYDIS_MNEMONIC_SYSEXIT;
         return x.amd && either && x.stopped_at_once() && x.only(FieldVector | FieldErrorCode);
     }},
    {"LSL of the segment in whose limit Linux keeps the number of the CPU",
     [](const Context& x) { return x.mnemonic() == ZYDIS_MNEMONIC_LSL && x.only(FieldRegisters); }},
    // As study/src/fuzz/difference.cc has it.
    {"an MMX instruction that faults may have made MMX registers of the x87 ones",
     [](const Context& x) { return x.mmx() && x.both_fault() && x.only(FieldFpu); }},
    // Not in the manual, as with POPA.
    {"AMD: FRSTOR that faults has loaded some registers",
     [](const Context& x) {
         return x.amd && x.mnemonic() == ZYDIS_MNEMONIC_FRSTOR && x.both_fault() && x.only(kWhichFault | FieldFpu);
     }},
};

}  // namespace

Verdict judge(const SegmentCase& c, const Result& native, const Result& interpreter, bool amd) {
    Verdict verdict;
    if (native.ending == Ending::SystemCall) verdict.not_compared = "it called the operating system";
    if (interpreter.into_itself) verdict.not_compared = "it branches into the middle of itself";
    if (native.ending == Ending::Lost) verdict.not_compared = "the child process was lost";
    if (native.ending == Ending::NoEnd && interpreter.ending == Ending::NoEnd) verdict.not_compared = "it has no end";
    if (study::result_left_undefined(c.instruction, c.state.gpr[RCX])) verdict.not_compared = "its result is undefined";
    if (verdict.not_compared != nullptr) return verdict;
    Comparer compare = compare_results(c, native, interpreter);
    verdict.differences = std::move(compare.lines);
    if (verdict.differences.empty()) return verdict;
    const Context context{c, native, interpreter, amd, compare.fields};
    for (const Rule& rule : kRules) {
        if (rule.holds(context)) {
            verdict.not_compared = rule.name;
            break;
        }
    }
    return verdict;
}

std::string to_text(const SegmentCase& c) {
    const State& s = c.state;
    std::string text;
    for (const auto& [name, selector] : {std::pair{"cs", s.cs}, {"ss", s.ss}, {"ds", s.ds}, {"es", s.es}}) {
        text += fmt::format("  {} {}\n", name, to_text(selector));
    }
    for (unsigned i = 0; i < 8; ++i) {
        text += fmt::format("{}{} {:08x}", i == 0 ? "  " : " ", study::register_name(CpuMode::Compatibility32, i),
                            s.gpr[i]);
    }
    text += fmt::format(" eflags {:x}\n", s.rflags);
    const CpuMode mode = segment_of(s.cs).wide ? CpuMode::Compatibility32 : CpuMode::Compatibility16;
    return text + study::to_text(study::Disassembler().line(mode, s.rip, c.code)) + "\n";
}

}  // namespace dualvm::segments
