#include "case_maker.h"

#include "corner_values.h"
#include "placement.h"

namespace dualvm::study {

CaseMaker::Mode::Mode(CodeMode mode, const CpuModel& model, const std::vector<std::string>& only, bool wanted)
    : maker(mode, model) {
    if (wanted) templates = make_templates(mode, model, only);
}

CaseMaker::CaseMaker(const CpuModel& model, const std::vector<std::string>& only, bool with32)
    : analyser_(model), wide_(CodeMode::Bits64, model, only, true), narrow_(CodeMode::Bits32, model, only, with32) {
    Random random(0, 0);
    for (u8& byte : background_) byte = static_cast<u8>(random.next());
}

bool CaseMaker::make(u64 seed, u64 index, Case& into, CaseAnalysis& analysis) const {
    constexpr unsigned kAttempts = 50;
    Random random(seed, index);
    for (unsigned i = 0; i < kAttempts; ++i) {
        if (!attempt(random, into)) continue;
        analysis = analyser_.analyse(into);
        if (!analysis.tainted) return true;
    }
    return false;
}

bool CaseMaker::attempt(Random& random, Case& into) const {
    const bool narrow = !narrow_.templates.empty() && (wide_.templates.empty() || random.one_in(3));
    const Mode& mode = narrow ? narrow_ : wide_;
    if (mode.templates.empty()) return false;
    into.mode = narrow ? CpuMode::Compatibility32 : CpuMode::Long64;
    into.code.clear();
    into.code_offset = 0;
    into.gpr.fill(0);
    into.window = background_;
    into.fpu = FpuGroup{};
    into.fpu.fcw = 0x37f;
    into.fpu.ftw = 0;

    // Longer ones need memory operands and registers to be where the first instruction expects them, too: single
    // instructions are the most of the cases.
    const u64 wanted = random.percent(60) ? 1 : 2 + random.below(5);
    RegisterUse use;
    Placement placement(random, into, use);
    if (random.one_in(3)) corner_fpu(random, into.fpu);
    std::vector<u8> bytes;
    bool uses_fpu = false;
    for (u64 n = 0, attempts = 0; n < wanted && attempts < 3 * wanted; ++attempts) {
        const Template& t = random.of(std::span<const Template>(mode.templates));
        if (!mode.maker.make(random, t, use, bytes)) continue;
        const u64 offset = into.code.size();
        into.code.insert(into.code.end(), bytes.begin(), bytes.end());
        ++n;
        DecodedInstruction d;
        if (!ZYAN_SUCCESS(mode.maker.decoder().decode(bytes, d))) break;  // LOCK where there is none: the last one
        const auto extension = d.zydis.meta.isa_ext;
        uses_fpu = uses_fpu || (extension != ZYDIS_ISA_EXT_BASE && extension != ZYDIS_ISA_EXT_LONGMODE);
        placement.place(d, offset);
    }
    if (into.code.empty()) return false;
    placement.fill_rest();
    if (uses_fpu) corner_fpu(random, into.fpu);
    if (random.one_in(100)) into.code_offset = ring3::kCodeBytes - random.below(into.code.size()) - 1;
    if (into.code_offset + into.code.size() > ring3::kCodeBytes) into.code.resize(ring3::kCodeBytes - into.code_offset);
    return true;
}

}  // namespace dualvm::study
