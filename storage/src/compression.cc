#include "compression.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

namespace dualvm::storage {

namespace {

// QEMU reads deflate streams whose window is 2^12 bytes; a minus sign tells zlib that there is no header.
constexpr int kWriteWindow = -12;
constexpr int kReadWindow = -15;
constexpr int kZstdLevel = 3;

tl::unexpected<Error> cannot_unpack(std::string_view why) {
    return fail(ExitStatus::BadImage, fmt::format("cannot be decompressed: {}", why));
}

Expected<std::vector<u8>> inflate_all(std::span<const u8> packed, std::size_t size) {
    std::vector<u8> bytes(size);
    z_stream stream{};
    if (inflateInit2(&stream, kReadWindow) != Z_OK) return cannot_unpack("no memory");
    stream.next_in = const_cast<u8*>(packed.data());  // zlib only reads it
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = bytes.data();
    stream.avail_out = static_cast<uInt>(bytes.size());
    const int result = inflate(&stream, Z_FINISH);
    const bool full = stream.avail_out == 0;
    inflateEnd(&stream);
    // A stream that would go on (Z_BUF_ERROR) gave all that a cluster can hold.
    if (!full || (result != Z_STREAM_END && result != Z_BUF_ERROR)) return cannot_unpack("not a whole deflate stream");
    return bytes;
}

// Frame by frame straight into the result: no window is allocated, whatever the frames' headers ask for.
Expected<std::vector<u8>> unpack_zstd(std::span<const u8> packed, std::size_t size) {
    std::vector<u8> bytes(size);
    std::size_t done = 0;
    while (done < size) {
        const std::size_t frame = ZSTD_findFrameCompressedSize(packed.data(), packed.size());
        if (ZSTD_isError(frame) != 0 || frame == 0) return cannot_unpack("not a whole Zstandard frame");
        const std::size_t n = ZSTD_decompress(bytes.data() + done, size - done, packed.data(), frame);
        if (ZSTD_isError(n) != 0) return cannot_unpack(ZSTD_getErrorName(n));
        done += n;
        packed = packed.subspan(frame);
    }
    return bytes;
}

Expected<std::vector<u8>> deflate_all(std::span<const u8> bytes) {
    std::vector<u8> packed(bytes.size());
    z_stream stream{};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kWriteWindow, 9, Z_DEFAULT_STRATEGY) != Z_OK) {
        return fail(ExitStatus::BadImage, "the host has no memory left to compress with");
    }
    stream.next_in = const_cast<u8*>(bytes.data());
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = packed.data();
    stream.avail_out = static_cast<uInt>(packed.size());
    const bool whole = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    const std::size_t length = packed.size() - stream.avail_out;
    deflateEnd(&stream);
    packed.resize(whole && length < bytes.size() ? length : 0);
    return packed;
}

}  // namespace

Expected<std::vector<u8>> unpack(Compression how, std::span<const u8> packed, std::size_t size) {
    return how == Compression::Zlib ? inflate_all(packed, size) : unpack_zstd(packed, size);
}

Expected<std::vector<u8>> pack(Compression how, std::span<const u8> bytes) {
    if (how == Compression::Zlib) return deflate_all(bytes);
    std::vector<u8> packed(bytes.size());
    const std::size_t n = ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), kZstdLevel);
    packed.resize(ZSTD_isError(n) != 0 || n >= bytes.size() ? 0 : n);  // no room: it did not become smaller
    return packed;
}

}  // namespace dualvm::storage
