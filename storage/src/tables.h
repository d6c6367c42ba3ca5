// Tables of big-endian 64-bit entries, and the backing file's name, as both qcow formats have them.
#pragma once

#include <string>
#include <vector>

#include "dualvm/storage/file.h"

namespace dualvm::storage {

// The specification of qcow2 allows no longer name.
constexpr u64 kLongestBackingName = 1023;

// `entries` must have been compared with the file's size: memory is taken for all of them.
Expected<std::vector<u64>> read_table(File& file, u64 offset, u64 entries);
Expected<std::string> read_text(File& file, u64 offset, u64 length);
// Whether [offset, offset + length) is a part of the file.
bool lies_within(u64 offset, u64 length, u64 file_size);

}  // namespace dualvm::storage
