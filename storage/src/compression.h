// Compressed clusters: deflate without a zlib header (qcow, qcow2), or Zstandard frames (qcow2).
#pragma once

#include <span>
#include <vector>

#include "dualvm/storage/image.h"

namespace dualvm::storage {

// Exactly `size` bytes must come out; bytes behind the end of the packed data are no mistake, as its length is only
// known in sectors.
Expected<std::vector<u8>> unpack(Compression how, std::span<const u8> packed, std::size_t size);
// Empty if it did not become smaller.
Expected<std::vector<u8>> pack(Compression how, std::span<const u8> bytes);

}  // namespace dualvm::storage
