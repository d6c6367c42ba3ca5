// Reading an image file whole.
#pragma once

#include <string>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::boot {

// The bytes of a regular file of 1 to `limit` bytes. `what` is what errors call it: "kernel", "initrd".
Expected<std::vector<u8>> read_image_file(const std::string& path, const char* what, u64 limit);

}  // namespace dualvm::boot
