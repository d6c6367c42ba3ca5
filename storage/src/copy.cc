#include "dualvm/storage/copy.h"

#include <algorithm>
namespace dualvm::storage {

namespace {

constexpr u64 kPiece = u64{2} << 20;  // read at once; a multiple of every cluster size
constexpr u64 kSmallest = 4096;       // of what is looked at for being zero

bool all_zero(std::span<const u8> bytes) {
    // Compared with itself, one byte on: memcmp's speed.
    return bytes.empty() || (bytes[0] == 0 && std::equal(bytes.begin() + 1, bytes.end(), bytes.begin()));
}

// The parts of `piece` that are not zero.
Expected<void> write_parts(Image& to, u64 offset, std::span<const u8> piece, u64 part, bool compressed) {
    for (std::size_t at = 0; at < piece.size();) {
        const auto length = [&](std::size_t from) { return std::min<std::size_t>(part, piece.size() - from); };
        if (all_zero(piece.subspan(at, length(at)))) {
            at += length(at);
            continue;
        }
        std::size_t end = at + length(at);
        if (!compressed) {
            while (end < piece.size() && !all_zero(piece.subspan(end, length(end)))) end += length(end);
        }
        const auto bytes = piece.subspan(at, end - at);
        auto written =
            compressed && bytes.size() == part ? to.write_compressed(offset + at, bytes) : to.write(offset + at, bytes);
        if (!written) return written;
        at = end;
    }
    return {};
}

}  // namespace

Expected<void> copy_disk(Image& from, Image& to, bool compressed, const std::function<bool(u64)>& go_on) {
    compressed = compressed && to.can_compress();
    const u64 part = compressed ? to.info().cluster_size : std::max(to.info().cluster_size, kSmallest);
    std::vector<u8> piece;
    for (u64 offset = 0; offset < from.size();) {
        if (!go_on(offset)) return fail(ExitStatus::Limit, "interrupted");
        auto extent = from.extent(offset);
        if (!extent) return tl::unexpected(extent.error());
        // Pieces begin where clusters of the new image do, so a hole ends before the one in which data begins.
        const u64 next = std::min(from.size(), offset - offset % kPiece + kPiece);
        const u64 end = offset + extent->length;
        if (extent->zero && end >= next) {
            offset = end == from.size() ? end : end - end % kPiece;
            continue;
        }
        piece.resize(next - offset);
        if (auto read = from.read(offset, piece); !read) return read;
        if (auto written = write_parts(to, offset, piece, part, compressed); !written) return written;
        offset = next;
    }
    return to.flush();
}

}  // namespace dualvm::storage
