// The legacy region of an XSAVE area (SDM vol. 1, 10.5.1), as signal frames have it, from and to FpuGroup.
#pragma once

#include "dualvm/cpu_file.h"

namespace dualvm::study {

using FxImage = std::array<u8, 416>;  // without what is reserved behind XMM15

void to_fx_image(const FpuGroup& fpu, FxImage& image);
void from_fx_image(const FxImage& image, FpuGroup& fpu);

}  // namespace dualvm::study
