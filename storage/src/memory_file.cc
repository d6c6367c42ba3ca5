#include <fmt/format.h>

#include <algorithm>

#include "dualvm/storage/file.h"

namespace dualvm::storage {

Expected<void> MemoryFile::read(u64 offset, std::span<u8> to) {
    const u64 there = offset < bytes_.size() ? std::min<u64>(to.size(), bytes_.size() - offset) : 0;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(there == 0 ? 0 : offset), there, to.begin());
    std::fill(to.begin() + static_cast<std::ptrdiff_t>(there), to.end(), u8{0});
    return {};
}

Expected<void> MemoryFile::write(u64 offset, std::span<const u8> from) {
    if (from.empty()) return {};
    if (offset > limit_ || from.size() > limit_ - offset) {
        return fail(ExitStatus::BadImage,
                    fmt::format("cannot write {}: it may not have more than {} bytes", name_, limit_));
    }
    if (offset + from.size() > bytes_.size()) bytes_.resize(offset + from.size());
    std::copy(from.begin(), from.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
}

Expected<void> MemoryFile::resize(u64 bytes) {
    if (bytes > limit_) {
        return fail(ExitStatus::BadImage,
                    fmt::format("cannot resize {}: it may not have more than {} bytes", name_, limit_));
    }
    bytes_.resize(bytes);
    return {};
}

Expected<Extent> MemoryFile::extent(u64 offset) {
    if (offset >= bytes_.size()) return Extent{};
    return Extent{bytes_.size() - offset, false};
}

}  // namespace dualvm::storage
