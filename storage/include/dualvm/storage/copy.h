// Copies what is on one disk to another, leaving out what is all zeros.
#pragma once

#include <functional>

#include "dualvm/storage/image.h"

namespace dualvm::storage {

// `to` must be at least as large, and read as zeros. `compressed`: into compressed clusters, where the format has them.
// `go_on` is asked now and then, with how many bytes are done; false ends the copy, with an error.
Expected<void> copy_disk(Image& from, Image& to, bool compressed, const std::function<bool(u64 done)>& go_on);

}  // namespace dualvm::storage
