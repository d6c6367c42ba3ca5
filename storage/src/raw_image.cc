#include "raw_image.h"

#include <fmt/format.h>

#include <algorithm>

#include "big_endian.h"
#include "probe.h"

namespace dualvm::storage {

namespace {

class RawImage final : public Image {
public:
    RawImage(std::unique_ptr<File> file, u64 bytes, bool writable, bool probed)
        : file_(std::move(file)), bytes_(bytes), writable_(writable), probed_(probed) {
        info_.size = bytes;
    }

    // A file that ends within a sector goes on with zeros.
    u64 size_in_sectors() const override { return divide_up(bytes_, kSectorSize); }
    bool read_only() const override { return !writable_; }
    const ImageInfo& info() const override { return info_; }

    Expected<void> read(u64 offset, std::span<u8> to) override {
        if (auto inside = must_be_inside(offset, to.size()); !inside) return inside;
        return file_->read(offset, to);
    }

    Expected<void> write(u64 offset, std::span<const u8> from) override {
        if (auto inside = must_be_inside(offset, from.size()); !inside) return inside;
        if (!writable_) return fail(ExitStatus::BadImage, fmt::format("{} is open for reading only", file_->name()));
        if (probed_ && offset == 0 && !from.empty() && looks_like(from) != Looks::Raw) {
            return fail(ExitStatus::BadImage,
                        fmt::format("the guest may not write the header of an image format into {}, which is raw by "
                                    "guess only: say that it is raw",
                                    file_->name()));
        }
        unsynced_ = true;
        return file_->write(offset, from);
    }

    Expected<void> flush() override {
        if (!unsynced_) return {};
        if (auto synced = file_->sync(); !synced) return synced;
        unsynced_ = false;
        return {};
    }

    Expected<Extent> extent(u64 offset) override {
        if (auto inside = must_be_inside(offset, 0); !inside) return tl::unexpected(inside.error());
        if (offset >= bytes_) return Extent{};
        auto found = file_->extent(offset);
        if (!found) return found;
        // The file may have grown or shrunk by another's hand.
        if (found->length == 0) return Extent{size() - offset, true};
        if (offset + found->length >= bytes_) found->length = size() - offset;
        found->length = std::max(found->length - found->length % kSectorSize, kSectorSize);
        return found;
    }

private:
    Expected<void> must_be_inside(u64 offset, u64 length) const {
        if (offset % kSectorSize == 0 && length % kSectorSize == 0 && offset <= size() && length <= size() - offset) {
            return {};
        }
        return fail(ExitStatus::BadImage,
                    fmt::format("{:#x} bytes at {:#x} are not whole sectors of {}'s disk of {:#x} bytes", length,
                                offset, file_->name(), size()));
    }

    std::unique_ptr<File> file_;
    u64 bytes_;
    bool writable_, probed_, unsynced_ = false;
    ImageInfo info_;
};

}  // namespace

Expected<std::unique_ptr<Image>> open_raw(std::unique_ptr<File> file, bool writable, bool probed) {
    const auto bytes = file->size();
    if (!bytes) return tl::unexpected(bytes.error());
    return std::make_unique<RawImage>(std::move(file), *bytes, writable, probed);
}

Expected<void> create_raw(File& file, const CreateOptions& options) { return file.resize(options.size); }

}  // namespace dualvm::storage
