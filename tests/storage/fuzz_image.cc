#include "fuzz_image.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "dualvm/storage/check.h"

namespace dualvm::storage {

namespace {

constexpr std::size_t kActions = 8;     // of 4 bytes each: what, and where
constexpr u64 kLargest = u64{8} << 20;  // of the file: then the disk is full
constexpr std::size_t kPiece = 6 * 512;

// What was just written must be what is read, whatever the image says of itself; unless its own entries send two parts
// of the disk to one place, which only a check tells.
void use(Image& disk, std::span<const unsigned char> actions, bool sound) {
    std::vector<u8> piece(kPiece), back(kPiece);
    for (std::size_t i = 0; i + 4 <= actions.size(); i += 4) {
        const u64 sectors = disk.size_in_sectors();
        if (sectors < kPiece / 512) break;
        const u64 random = actions[i + 1] | u64{actions[i + 2]} << 8 | u64{actions[i + 3]} << 16;
        const u64 last = sectors - kPiece / 512;
        const u64 at = (actions[i] & 0x80 ? last - random % (last + 1) : random % (last + 1)) * 512;
        switch (actions[i] & 3) {
            case 0: static_cast<void>(disk.read(at, piece)); break;
            case 1: static_cast<void>(disk.flush()); break;
            case 2: static_cast<void>(disk.extent(at)); break;
            case 3:
                std::memset(piece.data(), actions[i + 1], piece.size());
                if (!disk.write(at, piece) || !sound) break;
                if (!disk.read(at, back) || piece != back) {
                    std::fprintf(stderr, "what was written at %llx is not what is read\n",
                                 static_cast<unsigned long long>(at));
                    std::abort();
                }
        }
    }
}

// A small image with plain and compressed clusters.
std::vector<u8> sound_image(Format format) {
    CreateOptions options{.format = format, .size = u64{1} << 20};
    if (format == Format::Qcow2) options.cluster_size = 512;
    auto file = std::make_unique<MemoryFile>();
    const MemoryFile* bytes = file.get();
    if (!create_image(*file, options)) std::abort();
    const auto image = open_image_in(std::move(file), {.format = format, .writable = true});
    const std::vector<u8> cluster((*image)->info().cluster_size, 0x5a);
    const bool made = (*image)->write(0, std::vector<u8>(4096, 0x11)) && (*image)->write_compressed(8192, cluster) &&
                      (*image)->write_compressed(12288, cluster) && (*image)->flush();
    if (!made) std::abort();
    return bytes->bytes();
}

// An even first byte: the rest is an image. An odd one: the rest are changes to a sound image, which get further than
// what a fuzzer makes from nothing.
std::vector<u8> image_of(Format format, std::span<const unsigned char> data) {
    if (data[0] % 2 == 0) return {data.begin() + 1, data.end()};
    static const std::vector<u8> sound = sound_image(format);
    std::vector<u8> bytes = sound;
    for (data = data.subspan(1); data.size() >= 10; data = data.subspan(10)) {
        const std::size_t at = (data[0] | std::size_t{data[1]} << 8) * 8 % (bytes.size() - 8);
        std::memcpy(&bytes[at], &data[2], 8);
    }
    return bytes;
}

}  // namespace

void use_image(Format format, const unsigned char* data, std::size_t size) {
    if (size < kActions * 4 + 1) return;
    const std::span actions(data + size - kActions * 4, kActions * 4);
    const std::vector<u8> bytes = image_of(format, {data, size - kActions * 4});
    if (const auto reader = open_image_in(std::make_unique<MemoryFile>(bytes, kLargest), {.format = format})) {
        use(**reader, actions, false);
    }
    MemoryFile file(bytes, kLargest);
    const auto report = check_image(file, format);
    const bool sound = report && report->corruptions == 0;
    auto written = std::make_unique<MemoryFile>(bytes, kLargest);
    const MemoryFile* after = written.get();
    if (const auto writer = open_image_in(std::move(written), {.format = format, .writable = true})) {
        use(**writer, actions, sound);
        if ((*writer)->flush() && sound) {
            MemoryFile result(after->bytes(), kLargest);
            const auto still = check_image(result, format);
            if (!still || still->corruptions != 0) {
                std::fprintf(stderr, "a sound image was damaged: %s\n",
                             still ? still->messages.front().c_str() : still.error().text.c_str());
                std::abort();
            }
        }
    }
    static_cast<void>(check_image(file, format, Repair::All));
}

}  // namespace dualvm::storage
