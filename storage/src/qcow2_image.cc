#include "qcow2_image.h"

#include <fmt/format.h>

#include <algorithm>

#include "big_endian.h"
#include "clustered_image.h"
#include "compression.h"
#include "qcow2_refcounts.h"
#include "tables.h"

namespace dualvm::storage {

namespace {

constexpr u64 kReservedInL1 = 0x7f000000000001ff;
constexpr u64 kReservedInL2 = 0x3f000000000001fe;

class Qcow2Image final : public ClusteredImage {
public:
    Qcow2Image(Parts parts, u64 file_end, const Qcow2Header& header)
        : ClusteredImage(std::move(parts), file_end),
          zero_flag_(header.version >= 3 ? kQcow2Zero : 0),
          compression_(header.compression),
          refcounts_(*file_, header, metadata_) {}
    ~Qcow2Image() override { flush_at_end(); }

    // Before it may be written to: finds the free clusters, and what the guest's data may not be written over.
    Expected<void> prepare_writing(const Qcow2Header& header) {
        if (auto loaded = refcounts_.load(); !loaded) return loaded;
        metadata_.add_unsorted(0, cluster_size());
        protect(header.l1_offset, l1().size() * 8);
        protect(header.refcount_table_offset, header.refcount_table_clusters * cluster_size());
        protect(header.snapshots_offset, header.snapshots_end - header.snapshots_offset);
        for (const Qcow2Snapshot& snapshot : header.snapshots) protect(snapshot.l1_offset, snapshot.l1_entries * 8);
        for (const u64 block : refcounts_.table()) {
            if (block != 0) protect(block, cluster_size());
        }
        for (const u64 entry : l1()) {
            const auto table = decode_l1(entry);
            if (!table) return tl::unexpected(table.error());
            if (table->host != 0) protect(table->host, l2_bytes());
        }
        if (!metadata_.sort()) return damaged("its tables overlap, so it can't be written to");
        return {};
    }

protected:
    Expected<Mapping> decode_l1(u64 entry) const override {
        const u64 host = entry & kQcow2OffsetMask;
        if ((entry & kReservedInL1) != 0 || host % cluster_size() != 0) {
            return damaged(fmt::format("L1 entry {:#018x} is not valid", entry));
        }
        if (host == 0) return Mapping{};
        if (auto there = must_be_in_file(host, l2_bytes(), "an L2 table"); !there) return tl::unexpected(there.error());
        return Mapping{Mapping::Kind::Data, (entry & kQcow2Copied) != 0, host, l2_bytes()};
    }
    u64 encode_l1(u64 host) const override { return kQcow2Copied | host; }

    Expected<Mapping> decode_l2(u64 entry) const override {
        if ((entry & kQcow2Compressed) != 0) return decode_compressed(entry);
        Mapping mapping;
        mapping.host = entry & kQcow2OffsetMask;
        if ((entry & kReservedInL2) != 0 || (entry & kQcow2Zero & ~zero_flag_) != 0 ||
            mapping.host % cluster_size() != 0) {
            return damaged(fmt::format("L2 entry {:#018x} is not valid", entry));
        }
        if (mapping.host != 0) {
            mapping.kind = Mapping::Kind::Data;
            mapping.in_place = (entry & kQcow2Copied) != 0;
        }
        if ((entry & zero_flag_) != 0) {
            mapping.kind = Mapping::Kind::Zero;  // at mapping.host, if anywhere, is room for when it is written to
            mapping.in_place = false;
        } else if (mapping.host != 0) {
            if (auto there = must_be_in_file(mapping.host, 1, "a cluster"); !there)
                return tl::unexpected(there.error());
        }
        return mapping;
    }
    u64 encode_data(u64 host) const override { return kQcow2Copied | host; }
    u64 encode_compressed(u64 host, u64 bytes) const override {
        const u64 further_sectors = (host + bytes - 1) / kSectorSize - host / kSectorSize;
        return kQcow2Compressed | further_sectors << offset_bits() | host;
    }

    Expected<u64> allocate(u64 bytes) override {
        const auto first = refcounts_.allocate(divide_up(bytes, cluster_size()));
        if (!first) return tl::unexpected(first.error());
        file_end_ = std::max(file_end_, refcounts_.written_end());
        return *first * cluster_size();
    }

    // Compressed clusters share clusters of the file: each counts in all that it touches.
    Expected<u64> allocate_compressed(u64 bytes) override {
        const u64 left = (cluster_size() - packed_end_ % cluster_size()) % cluster_size();
        if (left != 0) {
            const u64 shared = packed_end_ / cluster_size();
            const auto count = refcounts_.get(shared);
            if (!count) return tl::unexpected(count.error());
            if (*count < refcounts_.largest()) {
                if (bytes <= left) return share(shared, packed_end_, bytes);
                const auto next = allocate(cluster_size());
                if (!next) return next;
                if (*next == packed_end_ + left) return share(shared, packed_end_, bytes);
                packed_end_ = *next + bytes;
                return *next;
            }
        }
        const auto host = allocate(cluster_size());
        if (host) packed_end_ = *host + bytes;
        return host;
    }
    void take_back(u64 host, u64 bytes) override {
        each_cluster(host, bytes, [this](u64 cluster) { static_cast<void>(refcounts_.add(cluster, -1)); });
        // What is left of the cluster may not be free any more.
        packed_end_ = 0;
    }
    void release_later(u64 host, u64 bytes) override { released_.push_back({host, bytes}); }
    Expected<void> write_allocations() override {
        unsynced_ |= refcounts_.has_changes();
        return refcounts_.write();
    }
    Expected<void> release_now() override {
        while (!released_.empty()) {
            const auto [host, bytes] = released_.back();
            released_.pop_back();
            Expected<void> result;
            each_cluster(host, bytes, [&](u64 cluster) {
                if (result) result = refcounts_.add(cluster, -1);
            });
            if (!result) return result;
            packed_end_ = 0;
        }
        return {};
    }

    Expected<std::vector<u8>> decompress(std::span<const u8> bytes) const override {
        return unpack(compression_, bytes, cluster_size());
    }
    Expected<std::vector<u8>> compress(std::span<const u8> cluster) const override {
        return pack(compression_, cluster);
    }

private:
    struct Range {
        u64 host, bytes;
    };

    unsigned offset_bits() const { return 62 - (cluster_bits() - 8); }

    Expected<Mapping> decode_compressed(u64 entry) const {
        Mapping mapping;
        mapping.kind = Mapping::Kind::Compressed;
        mapping.host = entry & ((u64{1} << offset_bits()) - 1);
        const u64 further_sectors = (entry & (kQcow2Compressed - 1)) >> offset_bits();
        mapping.bytes = (further_sectors + 1) * kSectorSize - mapping.host % kSectorSize;
        if (auto there = must_be_in_file(mapping.host, 1, "a compressed cluster"); !there) {
            return tl::unexpected(there.error());
        }
        return mapping;
    }

    Expected<u64> share(u64 cluster, u64 host, u64 bytes) {
        if (auto added = refcounts_.add(cluster, 1); !added) return tl::unexpected(added.error());
        packed_end_ = host + bytes;
        return host;
    }

    template <class Function>
    void each_cluster(u64 host, u64 bytes, Function function) {
        for (u64 cluster = host / cluster_size(); cluster <= (host + bytes - 1) / cluster_size(); ++cluster) {
            function(cluster);
        }
    }

    void protect(u64 host, u64 bytes) {
        if (bytes != 0) metadata_.add_unsorted(host, bytes);
    }

    u64 zero_flag_;
    Compression compression_;
    Qcow2Refcounts refcounts_;
    std::vector<Range> released_;
    u64 packed_end_ = 0;  // behind the compressed cluster that was written last; 0: there is none to go on behind
};

// What must be so before anything is written to it.
Expected<void> make_writable(File& file, Qcow2Header& header) {
    if ((header.incompatible & Qcow2Header::kCorrupt) != 0) {
        return fail(
            ExitStatus::BadImage,
            fmt::format("{} is marked as corrupt, so it can't be written to; 'dualvm img check' says how bad it is, "
                        "'dualvm img check -r all' repairs what can be repaired",
                        file.name()));
    }
    if ((header.incompatible & Qcow2Header::kDirty) != 0) {
        // Its refcounts were not brought up to date when it was used last ("lazy refcounts").
        const auto report = check_qcow2(file, Repair::All);
        if (!report) return tl::unexpected(report.error());
        if (!report->sound()) {
            return fail(
                ExitStatus::BadImage,
                fmt::format("{} was not closed properly, and {} faults in it could not be repaired; 'dualvm img "
                            "check' lists them",
                            file.name(), report->corruptions - report->corruptions_repaired));
        }
        auto again = read_qcow2_header(file);
        if (!again) return tl::unexpected(again.error());
        header = std::move(*again);
    }
    if (header.autoclear != 0) {
        // They say of other parts of the file that they match the contents, as they do no longer once those change.
        header.autoclear = 0;
        return write_qcow2_features(file, header);
    }
    return {};
}

}  // namespace

Expected<std::unique_ptr<Image>> open_qcow2(std::unique_ptr<File> file, bool writable, std::unique_ptr<Image> backing) {
    auto header = read_qcow2_header(*file);
    if (!header) return tl::unexpected(header.error());
    if (writable) {
        if (auto ready = make_writable(*file, *header); !ready) return tl::unexpected(ready.error());
    }
    auto l1 = read_table(*file, header->l1_offset, header->l1_entries);
    if (!l1) return tl::unexpected(l1.error());
    const auto file_size = file->size();
    if (!file_size) return tl::unexpected(file_size.error());
    ClusteredImage::Parts parts;
    parts.info = header->info();
    parts.file = std::move(file);
    parts.backing = std::move(backing);
    parts.writable = writable;
    parts.cluster_bits = header->cluster_bits;
    parts.l2_bits = header->l2_bits();
    parts.l1_offset = header->l1_offset;
    parts.l1 = std::move(*l1);
    auto image = std::make_unique<Qcow2Image>(std::move(parts), *file_size, *header);
    if (writable) {
        if (auto ready = image->prepare_writing(*header); !ready) return tl::unexpected(ready.error());
    }
    return image;
}

Expected<void> check_qcow2_options(const CreateOptions& options) {
    const auto wrong = [](std::string text) { return fail(ExitStatus::Usage, std::move(text)); };
    const u64 cluster = default_cluster_size(options);
    if (cluster < 512 || cluster > u64{2} << 20 || !std::has_single_bit(cluster)) {
        return wrong(fmt::format("cluster_size {} is not a power of 2 from 512 to 2M", cluster));
    }
    if (options.version != 2 && options.version != 3) return wrong("compat must be 0.10 (v2) or 1.1 (v3)");
    if (!std::has_single_bit(options.refcount_bits) || options.refcount_bits > 64) {
        return wrong(fmt::format("refcount_bits {} is not a power of 2 from 1 to 64", options.refcount_bits));
    }
    if (options.version == 2 &&
        (options.refcount_bits != 16 || options.lazy_refcounts || options.compression != Compression::Zlib)) {
        return wrong("refcount_bits, lazy_refcounts and compression_type need compat=1.1");
    }
    const auto bits = static_cast<unsigned>(std::countr_zero(cluster));
    if (options.size > u64{1} << 62 || qcow2_l1_entries_for(options.size, bits) > kQcow2LongestL1 / 8) {
        return wrong(fmt::format("{} bytes are too many for clusters of {}: use larger ones (-o cluster_size=)",
                                 options.size, cluster));
    }
    return {};
}

Expected<void> create_qcow2(File& file, const CreateOptions& options) {
    Qcow2Header header;
    header.version = options.version;
    header.size = options.size;
    header.cluster_bits = static_cast<unsigned>(std::countr_zero(default_cluster_size(options)));
    header.refcount_order = static_cast<unsigned>(std::countr_zero(options.refcount_bits));
    header.compression = options.compression;
    if (options.compression != Compression::Zlib) header.incompatible |= Qcow2Header::kCompressionType;
    if (options.lazy_refcounts) header.compatible |= Qcow2Header::kLazyRefcounts;
    header.backing_file = options.backing_file;
    header.backing_format = options.backing_format;

    // The first clusters: the header, a refcount table, and its first block (which the table does not know yet: the
    // refcounts are asked for clusters as soon as they can count their own).
    const u64 cluster = header.cluster_size();
    header.refcount_table_offset = cluster;
    header.refcount_table_clusters = 1;
    std::vector<u8> table(cluster);
    store_be64(table.data(), 2 * cluster);
    if (auto written = file.write(cluster, table); !written) return written;
    if (auto grown = file.resize(3 * cluster); !grown) return grown;
    RangeSet metadata;
    Qcow2Refcounts refcounts(file, header, metadata);
    if (auto loaded = refcounts.load(); !loaded) return loaded;
    for (u64 i = 0; i < 3; ++i) {
        if (auto done = refcounts.set(i, 1); !done) return done;
    }
    header.l1_entries = qcow2_l1_entries_for(header.size, header.cluster_bits);
    if (header.l1_entries != 0) {
        const u64 clusters = divide_up(header.l1_entries * 8, cluster);
        const auto first = refcounts.allocate(clusters);
        if (!first) return tl::unexpected(first.error());
        header.l1_offset = *first * cluster;
        const auto file_size = file.size();
        if (!file_size) return tl::unexpected(file_size.error());
        if (auto grown = file.resize(std::max(*file_size, header.l1_offset + clusters * cluster)); !grown) return grown;
    }
    if (auto written = refcounts.write(); !written) return written;
    header.refcount_table_offset = refcounts.table_offset();
    header.refcount_table_clusters = refcounts.table_clusters();
    const auto first_cluster = encode_qcow2_header(header);
    if (!first_cluster) return tl::unexpected(first_cluster.error());
    return file.write(0, *first_cluster);
}

}  // namespace dualvm::storage
