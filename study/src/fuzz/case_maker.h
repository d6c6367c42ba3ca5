// Case i of a seed: instructions, and a state in which they meet their corners.
#pragma once

#include <memory>

#include "analysis.h"
#include "instruction_maker.h"

namespace dualvm::study {

class CaseMaker {
public:
    CaseMaker(const CpuModel& model, const std::vector<std::string>& only, bool with32);

    // Case `index` of `seed`. False if the first choices that are tried for it all make nothing that can be compared.
    bool make(u64 seed, u64 index, Case& into, CaseAnalysis& analysis) const;

    // How many ways of encoding an instruction there are to choose from.
    std::size_t templates() const { return wide_.templates.size() + narrow_.templates.size(); }

private:
    struct Mode {
        Mode(CodeMode mode, const CpuModel& model, const std::vector<std::string>& only, bool wanted);
        std::vector<Template> templates;
        InstructionMaker maker;
    };

    bool attempt(Random& random, Case& into) const;

    Analyser analyser_;
    Mode wide_, narrow_;
    Window background_;  // what the window holds where no operand is
};

}  // namespace dualvm::study
