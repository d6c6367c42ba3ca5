#include "tables.h"

#include <span>

#include "big_endian.h"

namespace dualvm::storage {

Expected<std::vector<u64>> read_table(File& file, u64 offset, u64 entries) {
    std::vector<u64> table(entries);
    const std::span<u8> bytes(reinterpret_cast<u8*>(table.data()), entries * 8);
    if (auto read = file.read(offset, bytes); !read) return tl::unexpected(read.error());
    for (u64& entry : table) entry = __builtin_bswap64(entry);
    return table;
}

Expected<std::string> read_text(File& file, u64 offset, u64 length) {
    std::vector<u8> bytes(length);
    if (auto read = file.read(offset, bytes); !read) return tl::unexpected(read.error());
    return std::string(bytes.begin(), bytes.end());
}

bool lies_within(u64 offset, u64 length, u64 file_size) { return offset <= file_size && length <= file_size - offset; }

}  // namespace dualvm::storage
