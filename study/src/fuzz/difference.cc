#include "difference.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm::study {

namespace {

constexpr u8 kPageFault = 14;
constexpr u64 kUserEnd = u64{1} << 47;

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

void compare_fpu(Comparer& compare, const Case& c, const FpuGroup& oracle, const FpuGroup& tested) {
    compare.number("fcw", oracle.fcw, tested.fcw);
    compare.number("fsw", oracle.fsw, tested.fsw);
    compare.number("ftw", oracle.ftw, tested.ftw);
    // Pointers have 32 bits in 32-bit code.
    const u64 mask = c.long_mode() ? ~u64{0} : 0xffffffff;
    compare.number("fip", oracle.fip & mask, tested.fip & mask);
    // CPUs that store opcode and data pointer with unmasked exceptions only are not told from those that always do
    // (CPUID.7.EBX[6]; SDM vol. 1, 8.1.8 and 8.1.9): where an exception waits, all of them have stored both.
    constexpr u16 kErrorSummary = 0x80;
    if ((oracle.fsw & kErrorSummary) != 0) {
        compare.number("fdp", oracle.fdp & mask, tested.fdp & mask);
        compare.number("fop", oracle.fop, tested.fop);
    }
    for (unsigned i = 0; i < 8; ++i) {
        const X87Register &a = oracle.st[i], &b = tested.st[i];
        if (a == b) continue;
        compare.text(fmt::format("r{}", i), fmt::format("{:04x}:{:016x}", a.sign_exponent, a.significand),
                     fmt::format("{:04x}:{:016x}", b.sign_exponent, b.significand));
    }
    compare.number("mxcsr", oracle.mxcsr, tested.mxcsr);
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

const char* nothing_to_learn(const CaseResult& oracle) {
    if (oracle.ending == Ending::SystemCall) return "it called the operating system";
    if (oracle.ending == Ending::Lost) return "the oracle lost it";
    // A host with five levels of page tables has canonical addresses that this CPU model has not.
    const u64 high = oracle.cr2 >> 47;
    if (oracle.vector == kPageFault && high != 0 && high != 0x1ffff) return "the host's addresses are wider";
    return nullptr;
}

std::vector<FieldDifference> compare_results(const Case& c, const CaseAnalysis& analysis, const CaseResult& oracle,
                                             const CaseResult& tested, u64 ignored_flags) {
    Comparer compare;
    const bool both = oracle.ending == Ending::Exception && tested.ending == Ending::Exception;
    compare.text("ending", ending_text(oracle), ending_text(tested));
    if (!both) return compare.found;
    // Linux says of every address in its own half that there is a page.
    const u32 hidden = oracle.vector == kPageFault && oracle.cr2 >= kUserEnd ? 1 : 0;
    compare.number("error code", oracle.error_code | hidden, tested.error_code | hidden);
    compare.number("cr2", oracle.cr2, tested.cr2);
    const u64 mask = c.long_mode() ? ~u64{0} : 0xffffffff;
    compare.number("rip", oracle.general.rip, tested.general.rip);
    for (unsigned i = 0; i < (c.long_mode() ? 16u : 8u); ++i) {
        compare.number(register_name(c.mode, i), oracle.general.gpr[i] & mask, tested.general.gpr[i] & mask);
    }
    constexpr u64 kFlags = ring3::kFreeFlags | rflags::IF | rflags::IOPL | rflags::VM | rflags::VIF | rflags::VIP;
    const u64 flags = kFlags & ~analysis.undefined_at(c, oracle.general.rip) & ~ignored_flags;
    compare.text("rflags", flags_text(oracle.general.rflags & flags), flags_text(tested.general.rflags & flags));
    compare_fpu(compare, c, oracle.fpu, tested.fpu);
    compare_window(compare, oracle.window, tested.window);
    return compare.found;
}

}  // namespace dualvm::study
