// The instructions to choose from: one template for each way of encoding what the CPU model advertises.
#pragma once

#include <Zydis/Zydis.h>

#include <span>
#include <string>
#include <vector>

#include "dualvm/cpu_model.h"
#include "dualvm/study/catalogue.h"

namespace dualvm::study {

// What Zydis says of an instruction as the CPU model reads it.
struct DecodedInstruction {
    ZydisDecodedInstruction zydis;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;

    std::span<const ZydisDecodedOperand> visible() const {
        return std::span(operands).first(zydis.operand_count_visible);
    }
    std::span<const ZydisDecodedOperand> all() const { return std::span(operands).first(zydis.operand_count); }
    bool has(ZydisInstructionAttributes attributes) const { return (zydis.attributes & attributes) != 0; }
};

class ModelDecoder {
public:
    ModelDecoder(CodeMode mode, const CpuModel& model);
    // The instruction at the start of `bytes`; an error that Zydis gives a name to.
    ZyanStatus decode(std::span<const u8> bytes, DecodedInstruction& into) const;
    // Advertised by the model; the same instruction to CPUs that know more; and its results are for comparing.
    bool comparable(std::span<const u8> bytes, const DecodedInstruction& as) const;
    // The first two of these.
    bool means_the_same(std::span<const u8> bytes, const DecodedInstruction& as) const;

private:
    const CpuModel& model_;
    ZydisDecoder decoder_, newest_;
};

struct Template {
    DecodedInstruction instruction;
    std::vector<u8> bytes;
    std::string key;  // the catalogue's: "64/add/r/m32, imm8"
};

// One of the reasons below: no reason for whoever has descriptor tables of his own.
inline constexpr char kDescriptorTables[] = "descriptor tables are the operating system's";

// Why what an instruction does is not for two CPUs to agree about; nullptr if it is.
const char* not_comparable(const ZydisDecodedInstruction& instruction, std::span<const ZydisDecodedOperand> operands);

// Of what `model` advertises, those that are comparable. With `only`, those of these mnemonics.
std::vector<Template> make_templates(CodeMode mode, const CpuModel& model, const std::vector<std::string>& only);

}  // namespace dualvm::study
