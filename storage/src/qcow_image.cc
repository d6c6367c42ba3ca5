#include "qcow_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "big_endian.h"
#include "clustered_image.h"
#include "compression.h"
#include "reference_counts.h"
#include "tables.h"

namespace dualvm::storage {

namespace {

constexpr u64 kHeaderBytes = 48;
constexpr u32 kMagic = 0x514649fb;
constexpr unsigned kFewestClusterBits = 9, kMostClusterBits = 16;
constexpr unsigned kFewestL2Bits = 6, kMostL2Bits = 13;
constexpr u64 kCompressed = u64{1} << 63;
constexpr u64 kLongestL1 = u64{64} << 20;  // in bytes

tl::unexpected<Error> refused(const File& file, std::string_view why) {
    return fail(ExitStatus::BadImage, fmt::format("cannot use {} as a qcow image: {}", file.name(), why));
}

class QcowImage final : public ClusteredImage {
public:
    QcowImage(Parts parts, u64 file_end) : ClusteredImage(std::move(parts), file_end), next_(file_end) {}
    ~QcowImage() override { flush_at_end(); }

    // Finds what the guest's data may not be written over.
    Expected<void> protect_metadata(u64 header_end, u64 l1_offset) {
        metadata_.add_unsorted(0, header_end);
        metadata_.add_unsorted(l1_offset, l1().size() * 8);
        for (const u64 entry : l1()) {
            if (entry == 0) continue;
            const auto table = decode_l1(entry);
            if (!table) return tl::unexpected(table.error());
            metadata_.add_unsorted(table->host, l2_bytes());
        }
        if (!metadata_.sort()) return damaged("its tables overlap, so it can't be written to");
        return {};
    }

protected:
    Expected<Mapping> decode_l1(u64 entry) const override {
        if (entry == 0) return Mapping{};
        if (entry % kSectorSize != 0) return damaged(fmt::format("an L2 table at {:#x}, within a sector", entry));
        if (auto there = must_be_in_file(entry, l2_bytes(), "an L2 table"); !there)
            return tl::unexpected(there.error());
        return Mapping{Mapping::Kind::Data, true, entry, l2_bytes()};
    }
    u64 encode_l1(u64 host) const override { return host; }

    Expected<Mapping> decode_l2(u64 entry) const override {
        if (entry == 0) return Mapping{};
        Mapping mapping{Mapping::Kind::Data, true, entry, cluster_size()};
        if ((entry & kCompressed) != 0) {
            mapping.kind = Mapping::Kind::Compressed;
            mapping.in_place = false;
            mapping.host = entry & ((kCompressed >> cluster_bits()) - 1);
            mapping.bytes = (entry >> (63 - cluster_bits())) & (cluster_size() - 1);
        } else if (entry % kSectorSize != 0) {
            return damaged(fmt::format("a cluster at {:#x}, within a sector", entry));
        }
        if (auto there = must_be_in_file(mapping.host, 1, "a cluster"); !there) return tl::unexpected(there.error());
        return mapping;
    }
    u64 encode_data(u64 host) const override { return host; }
    u64 encode_compressed(u64 host, u64 bytes) const override {
        return kCompressed | bytes << (63 - cluster_bits()) | host;
    }

    // Behind everything; nothing says what in front of it is free.
    Expected<u64> allocate(u64 bytes) override {
        const u64 host = round_up(next_, cluster_size());
        if (auto fits = must_fit(host, bytes); !fits) return tl::unexpected(fits.error());
        next_ = host + bytes;
        return host;
    }
    Expected<u64> allocate_compressed(u64 bytes) override {
        const u64 host = next_;
        if (auto fits = must_fit(host, bytes); !fits) return tl::unexpected(fits.error());
        next_ = host + bytes;
        return host;
    }
    void take_back(u64 host, u64 bytes) override {
        if (next_ == host + bytes) next_ = host;
    }
    void release_later(u64, u64) override {}  // lost; the format has no way to say that it is free

    Expected<std::vector<u8>> decompress(std::span<const u8> bytes) const override {
        return unpack(Compression::Zlib, bytes, cluster_size());
    }
    Expected<std::vector<u8>> compress(std::span<const u8> cluster) const override {
        return pack(Compression::Zlib, cluster);
    }

private:
    // Compressed clusters have the fewest bits for their offset.
    Expected<void> must_fit(u64 host, u64 bytes) const {
        if (host + bytes <= kCompressed >> cluster_bits()) return {};
        return fail(ExitStatus::BadImage,
                    fmt::format("{} cannot grow any more: the format has no larger offsets", file_->name()));
    }
    u64 next_;
};

u64 l1_entries_for(u64 size, unsigned cluster_bits, unsigned l2_bits) {
    const unsigned bits = cluster_bits + l2_bits;  // at most 29
    return divide_up(size, u64{1} << bits);
}

// In the order of the tables; what is within compressed data does not matter.
class Checker {
public:
    Checker(File& file, const QcowHeader& header, u64 file_size)
        : file_(file), header_(header), file_size_(file_size), cluster_size_(u64{1} << header.cluster_bits) {}

    Expected<CheckReport> run() {
        report_.disk_clusters = divide_up(header_.size, cluster_size_);
        refer(whole_, 0, header_.l1_offset + header_.l1_entries * 8, "the header");
        const auto l1 = read_table(file_, header_.l1_offset, header_.l1_entries);
        if (!l1) return tl::unexpected(l1.error());
        for (const u64 entry : *l1) {
            if (entry == 0) continue;
            if (entry % kSectorSize != 0) {
                report_.corruption(fmt::format("an L2 table at {:#x}, within a sector", entry));
            } else if (whole_.of(entry / cluster_size_) != 0) {
                report_.corruption(fmt::format("the L2 table at {:#x} lies where there is something else", entry));
            } else if (refer(whole_, entry, l2_bytes(), "an L2 table")) {
                if (auto done = check_l2(entry); !done) return tl::unexpected(done.error());
            }
        }
        whole_.each([this](u64 cluster, u64 count) {
            if (count == 1 && packed_.of(cluster) == 0) return;
            report_.corruption(fmt::format("the cluster at {:#x} is used for {} things", cluster * cluster_size_,
                                           count + packed_.of(cluster)));
        });
        if (too_many_) report_.corruption("clusters are strewn over too large a file to check all of them");
        return report_;
    }

private:
    u64 l2_bytes() const { return u64{8} << header_.l2_bits; }

    // Counts a use of that part of the file; false if it is not one.
    bool refer(ReferenceCounts& counts, u64 host, u64 length, std::string_view what) {
        if (host >= file_size_) {
            report_.corruption(
                fmt::format("{} at {:#x} lies behind the end of the file, {:#x}", what, host, file_size_));
            return false;
        }
        report_.image_end = std::max(report_.image_end, host + length);
        for (u64 cluster = host / cluster_size_; cluster <= (host + length - 1) / cluster_size_; ++cluster) {
            too_many_ |= !counts.add(cluster);
        }
        return true;
    }

    Expected<void> check_l2(u64 offset) {
        const auto table = read_table(file_, offset, l2_bytes() / 8);
        if (!table) return tl::unexpected(table.error());
        for (const u64 entry : *table) {
            if (entry == 0) continue;
            ++report_.allocated_clusters;
            if ((entry & kCompressed) != 0) {
                ++report_.compressed_clusters;
                const u64 length = (entry >> (63 - header_.cluster_bits)) & (cluster_size_ - 1);
                refer(packed_, entry & ((kCompressed >> header_.cluster_bits) - 1), std::max<u64>(length, 1),
                      "a compressed cluster");
            } else if (entry % kSectorSize != 0) {
                report_.corruption(fmt::format("a cluster at {:#x}, within a sector", entry));
            } else {
                refer(whole_, entry, cluster_size_, "a cluster");
            }
        }
        return {};
    }

    File& file_;
    const QcowHeader& header_;
    u64 file_size_, cluster_size_;
    ReferenceCounts whole_, packed_;  // uses of a cluster for itself, and by compressed data, which share it
    bool too_many_ = false;
    CheckReport report_;
};

}  // namespace

Expected<QcowHeader> read_qcow_header(File& file) {
    std::array<u8, kHeaderBytes> bytes{};
    if (auto read = file.read(0, bytes); !read) return tl::unexpected(read.error());
    const auto file_size = file.size();
    if (!file_size) return tl::unexpected(file_size.error());
    if (load_be32(&bytes[0]) != kMagic || load_be32(&bytes[4]) != 1)
        return refused(file, "it has no header of that format");
    QcowHeader header;
    header.size = load_be64(&bytes[24]);
    header.cluster_bits = bytes[32];
    header.l2_bits = bytes[33];
    header.l1_offset = load_be64(&bytes[40]);
    if (load_be32(&bytes[36]) != 0) {
        return refused(file, "it is encrypted; make a plain one of it with qemu-img convert");
    }
    if (header.cluster_bits < kFewestClusterBits || header.cluster_bits > kMostClusterBits) {
        return refused(file, fmt::format("clusters of 2^{} bytes are not 512 bytes to 64 KiB", header.cluster_bits));
    }
    if (header.l2_bits < kFewestL2Bits || header.l2_bits > kMostL2Bits) {
        return refused(file, fmt::format("L2 tables of 2^{} entries are not 512 bytes to 64 KiB", header.l2_bits));
    }
    header.l1_entries = l1_entries_for(header.size, header.cluster_bits, header.l2_bits);
    if (header.l1_entries > kLongestL1 / 8) {
        return refused(file, fmt::format("a disk of {:#x} bytes is too large for it", header.size));
    }
    if (!lies_within(header.l1_offset, header.l1_entries * 8, *file_size) || header.l1_offset < kHeaderBytes) {
        return refused(file,
                       fmt::format("its L1 table ({} entries at {:#x}) is not within the file, which may have been "
                                   "cut off",
                                   header.l1_entries, header.l1_offset));
    }
    const u64 name_offset = load_be64(&bytes[8]);
    const u64 name_length = load_be32(&bytes[16]);
    if (name_offset != 0 && name_length != 0) {
        if (name_length > kLongestBackingName || !lies_within(name_offset, name_length, *file_size)) {
            return refused(file, "the name of its backing file is too long or not within the file");
        }
        auto name = read_text(file, name_offset, name_length);
        if (!name) return tl::unexpected(name.error());
        header.backing_file = std::move(*name);
    }
    return header;
}

Expected<std::unique_ptr<Image>> open_qcow(std::unique_ptr<File> file, bool writable, std::unique_ptr<Image> backing) {
    const auto header = read_qcow_header(*file);
    if (!header) return tl::unexpected(header.error());
    auto l1 = read_table(*file, header->l1_offset, header->l1_entries);
    if (!l1) return tl::unexpected(l1.error());
    const auto file_size = file->size();
    if (!file_size) return tl::unexpected(file_size.error());
    ClusteredImage::Parts parts;
    parts.info.format = Format::Qcow;
    parts.info.version = 1;
    parts.info.size = header->size;
    parts.info.cluster_size = u64{1} << header->cluster_bits;
    parts.info.backing_file = header->backing_file;
    parts.file = std::move(file);
    parts.backing = std::move(backing);
    parts.writable = writable;
    parts.cluster_bits = header->cluster_bits;
    parts.l2_bits = header->l2_bits;
    parts.l1_offset = header->l1_offset;
    parts.l1 = std::move(*l1);
    auto image = std::make_unique<QcowImage>(std::move(parts), *file_size);
    if (writable) {
        if (auto apart = image->protect_metadata(kHeaderBytes, header->l1_offset); !apart) {
            return tl::unexpected(apart.error());
        }
    }
    return image;
}

Expected<void> check_qcow_options(const CreateOptions& options) {
    const auto wrong = [](std::string text) { return fail(ExitStatus::Usage, std::move(text)); };
    if (options.size == 0) return wrong("a qcow image cannot be empty: give it a size");
    const CreateOptions& o = options;
    const unsigned bits = static_cast<unsigned>(std::countr_zero(default_cluster_size(o)));
    if (l1_entries_for(o.size, bits, o.backing_file.empty() ? 9 : 12) > kLongestL1 / 8) {
        return wrong(fmt::format("{} bytes are too many for a qcow image: use qcow2", o.size));
    }
    return {};
}

Expected<void> create_qcow(File& file, const CreateOptions& options) {
    // As qemu-img: with a backing file, small clusters, so that little has to be copied.
    const bool backed = !options.backing_file.empty();
    const auto cluster_bits = static_cast<unsigned>(std::countr_zero(default_cluster_size(options)));
    const unsigned l2_bits = backed ? 12 : 9;
    std::vector<u8> bytes(round_up(kHeaderBytes + options.backing_file.size(), 8));
    const u64 l1_offset = bytes.size();
    store_be32(&bytes[0], kMagic);
    store_be32(&bytes[4], 1);
    if (backed) {
        store_be64(&bytes[8], kHeaderBytes);
        store_be32(&bytes[16], static_cast<u32>(options.backing_file.size()));
        store_be32(&bytes[20], 0);
        std::copy(options.backing_file.begin(), options.backing_file.end(), bytes.begin() + kHeaderBytes);
    }
    store_be64(&bytes[24], options.size);
    bytes[32] = static_cast<u8>(cluster_bits);
    bytes[33] = static_cast<u8>(l2_bits);
    store_be64(&bytes[40], l1_offset);
    if (auto written = file.write(0, bytes); !written) return written;
    const u64 l1_bytes = l1_entries_for(options.size, cluster_bits, l2_bits) * 8;
    return file.resize(round_up(l1_offset + l1_bytes, u64{1} << cluster_bits));
}

Expected<CheckReport> check_qcow(File& file) {
    const auto header = read_qcow_header(file);
    if (!header) return tl::unexpected(header.error());
    const auto file_size = file.size();
    if (!file_size) return tl::unexpected(file_size.error());
    return Checker(file, *header, *file_size).run();
}

}  // namespace dualvm::storage
