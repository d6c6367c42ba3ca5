// Where Zydis 4.0 reads an instruction otherwise than CPUs do.
#pragma once

#include <Zydis/Zydis.h>

#include <span>

namespace dualvm::study {

// SIB.base 101b with ModRM.mod 00b is a displacement without base, whatever REX.B says (SDM vol. 2A, table 2-3, note 1,
// and 2.2.1.2); Zydis takes it for R13 without displacement if REX.B is set.
inline void correct_base(const ZydisDecodedInstruction& instruction, std::span<ZydisDecodedOperand> operands) {
    const auto& raw = instruction.raw;
    const bool sib = (instruction.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0;
    if (!sib || raw.modrm.mod != 0 || raw.sib.base != 5) return;
    for (ZydisDecodedOperand& o : operands) {
        if (o.type != ZYDIS_OPERAND_TYPE_MEMORY || o.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) continue;
        o.mem.base = ZYDIS_REGISTER_NONE;
        o.mem.disp.has_displacement = ZYAN_TRUE;
        o.mem.disp.value = raw.disp.value;
    }
}

}  // namespace dualvm::study
