// What the fuzzers of images do with one: open it, write to it, flush, check, repair.
#pragma once

#include <cstddef>

#include "dualvm/storage/image.h"

namespace dualvm::storage {

// `data` ends with a few bytes that say what the guest does.
void use_image(Format format, const unsigned char* data, std::size_t size);

}  // namespace dualvm::storage
