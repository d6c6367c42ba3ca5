#include "explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "dualvm/study/disassembler.h"

namespace dualvm::study {

std::vector<std::string> listing(const CaseAnalysis& analysis, const Case& c) {
    const Disassembler disassembler;
    std::vector<std::string> lines;
    for (const CaseInstruction& i : analysis.instructions) {
        const auto bytes = std::span(c.code).subspan(i.offset, i.length);
        lines.push_back(to_text(disassembler.line(c.mode, c.code_begin() + i.offset, bytes)));
    }
    return lines;
}

namespace {

// Registers that are not zero, a few a line; x87, MXCSR and vector registers only where they are not as usual.
std::string state_text(const Case& c) {
    std::string text = fmt::format("    rflags {:#x}", c.rflags);
    for (unsigned i = 0; i < (c.long_mode() ? 16u : 8u); ++i) {
        if (c.gpr[i] != 0) text += fmt::format("  {} {:#x}", register_name(c.mode, i), c.gpr[i]);
    }
    text += '\n';
    const FpuGroup& f = c.fpu;
    const FpuGroup usual{.fcw = 0x37f, .ftw = 0};
    if (f.fcw != usual.fcw || f.fsw != usual.fsw || f.ftw != usual.ftw || f.st != usual.st) {
        text += fmt::format("    fcw {:#x}  fsw {:#x}  ftw {:#x}", f.fcw, f.fsw, f.ftw);
        for (unsigned i = 0; i < 8; ++i) {
            if (f.st[i] == X87Register{}) continue;
            text += fmt::format("  r{} {:04x}:{:016x}", i, f.st[i].sign_exponent, f.st[i].significand);
        }
        text += '\n';
    }
    if (f.mxcsr != usual.mxcsr) text += fmt::format("    mxcsr {:#x}\n", f.mxcsr);
    for (unsigned i = 0; i < 16; ++i) {
        if (f.vector[i] == VectorRegister{}) continue;
        text += fmt::format("    xmm{} ", i);
        for (unsigned b = 0; b < 16; ++b) text += fmt::format("{:02x}", f.vector[i].bytes[b]);
        text += '\n';
    }
    // Memory in pieces of eight bytes, those that are not zero; no more than the reader can take in.
    unsigned shown = 0;
    for (u64 at = 0; at < c.window.size(); at += 8) {
        const auto piece = std::span(c.window).subspan(at, 8);
        if (std::all_of(piece.begin(), piece.end(), [](u8 b) { return b == 0; })) continue;
        if (++shown > 8) return text + "    ... and more memory that is not zero\n";
        text += fmt::format("    [{:x}] {:02x}\n", ring3::kWindow + at, fmt::join(piece, ""));
    }
    return text;
}

}  // namespace

std::string explain(const CaseAnalysis& analysis, const Case& c, const std::vector<FieldDifference>& differences,
                    const char* oracle, const char* tested) {
    std::string text = fmt::format("{}-bit code\n", c.long_mode() ? 64 : 32);
    for (const std::string& line : listing(analysis, c)) text += "  " + line + '\n';
    text += "  before:\n" + state_text(c);
    std::size_t field = 5, left = std::max<std::size_t>(std::string_view(oracle).size(), 6);
    for (const FieldDifference& d : differences) {
        field = std::max(field, d.field.size());
        left = std::max(left, d.oracle.size());
    }
    text += fmt::format("  {:<{}}  {:<{}}  {}\n", "after", field, oracle, left, tested);
    for (const FieldDifference& d : differences) {
        text += fmt::format("  {:<{}}  {:<{}}  {}\n", d.field, field, d.oracle, left, d.tested);
    }
    return text;
}

}  // namespace dualvm::study
