// Operands in the spelling of the manual's instruction tables (SDM vol. 2A, 3.1.1.3): "r32, imm8", "m64fp", "ST(i)".
#pragma once

#include <Zydis/Zydis.h>

#include <span>
#include <string>

namespace dualvm::study {

std::string spell_operands(const ZydisDecodedInstruction& instruction, std::span<const ZydisDecodedOperand> operands);

}  // namespace dualvm::study
