// Keeps two from writing to one image.
#pragma once

#include <string>

#include "dualvm/types.h"

namespace dualvm::storage {

// Locks an open file until its descriptor is closed. A writer shares it with nobody, readers share it with readers. The
// bytes are those that QEMU locks (docs/system/qemu-block-drivers, "image locking"), so that dualvm and QEMU keep out
// of each other's way too.
Expected<void> lock_file(int fd, bool writable, const std::string& name);

}  // namespace dualvm::storage
