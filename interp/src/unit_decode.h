// Rewriting a decoded x87, MMX or SSE instruction for the host unit: memory operand to [RDI], general register to RAX.
#pragma once

#include <Zydis/Zydis.h>

#include <span>

#include "host_unit.h"

namespace dualvm::interp {

// Does `zydis` belong to the extensions that run on the host's units and that the CPU model advertises?
bool is_unit_instruction(const ZydisDecodedInstruction& zydis);

// Fills `unit`, and finds or makes the routine. `bytes` is the instruction as it stands in guest memory.
void prepare_unit_instruction(const ZydisDecodedInstruction& zydis, const ZydisDecodedOperand* operands,
                              std::span<const u8> bytes, HostUnitRoutines& routines, UnitInsn& unit);

}  // namespace dualvm::interp
