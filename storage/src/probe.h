// What a file looks like by its first bytes.
#pragma once

#include <span>

#include "dualvm/types.h"

namespace dualvm::storage {

enum class Looks : u8 { Raw, Qcow, Qcow2, Foreign };

constexpr std::size_t kProbeBytes = 512;

// `name`, if given, gets the name of a foreign format.
Looks looks_like(std::span<const u8> first_bytes, const char** name = nullptr);

}  // namespace dualvm::storage
