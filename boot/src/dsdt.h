// The code of the Differentiated System Description Table, without the table's header.
#pragma once

#include <vector>

#include "dualvm/platform.h"

namespace dualvm::boot {

std::vector<u8> dsdt_code(const Platform& platform);

}  // namespace dualvm::boot
