// From an instruction set, as Zydis names it, to the CPUID bit that promises it.
#pragma once

#include <Zydis/Zydis.h>

#include "dualvm/study/catalogue.h"

namespace dualvm::study {

// nullptr: every CPU with 64-bit mode has the instruction.
const CpuidFeature* feature_of(const ZydisDecodedInstruction& instruction);

bool advertises(const CpuModel& model, const CpuidFeature* feature);

// Turns off the newer meanings of old encodings that `model` does not advertise: F3 0F BC is BSF without BMI1.
void read_as_model(ZydisDecoder& decoder, const CpuModel& model);

}  // namespace dualvm::study
