#include "qcow2_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "big_endian.h"
#include "tables.h"

namespace dualvm::storage {

namespace {

constexpr u32 kMagic = 0x514649fb;
constexpr u64 kVersion2Bytes = 72, kVersion3Bytes = 104, kWithCompression = 112;
constexpr unsigned kFewestClusterBits = 9, kMostClusterBits = 21;
constexpr unsigned kMostRefcountOrder = 6;
constexpr u64 kMostSnapshots = 65536;  // as in QEMU
constexpr u64 kMostSnapshotExtra = 1024;
constexpr u64 kLongestSnapshotTable = u64{64} << 20;  // as QEMU, which refuses longer ones
constexpr u64 kSnapshotEntryBytes = 40;

// Header extensions.
constexpr u32 kEnd = 0, kBackingFormat = 0xe2792aca, kFeatureNames = 0x6803f857, kBitmaps = 0x23852875;

tl::unexpected<Error> refused(const File& file, std::string_view why) {
    return fail(ExitStatus::BadImage, fmt::format("cannot use {} as a qcow2 image: {}", file.name(), why));
}

struct Feature {
    u8 kind, bit;  // kind: 0 incompatible, 1 compatible, 2 autoclear
    const char* name;
};
// As QEMU names them, in the image too, for programs that don't know them.
constexpr Feature kFeatures[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"}};
constexpr std::size_t kFeatureNameBytes = 46;

// The features of `bits` by their names: ours, or those that the image brings.
std::string feature_names(u64 bits, const std::vector<u8>& table) {
    std::string names;
    for (unsigned bit = 0; bit < 64; ++bit) {
        if ((bits >> bit & 1) == 0) continue;
        std::string name = fmt::format("feature {}", bit);
        for (std::size_t at = 0; at + 2 + kFeatureNameBytes <= table.size(); at += 2 + kFeatureNameBytes) {
            if (table[at] != 0 || table[at + 1] != bit) continue;
            const auto begin = table.begin() + static_cast<std::ptrdiff_t>(at) + 2;
            name.assign(begin, std::find(begin, begin + kFeatureNameBytes, u8{0}));
            // It comes from the file: nothing that a terminal would obey.
            std::replace_if(
                name.begin(), name.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
        }
        for (const Feature& feature : kFeatures) {
            if (feature.kind == 0 && feature.bit == bit) name = feature.name;
        }
        names += (names.empty() ? "'" : ", '") + name + "'";
    }
    return names;
}

Expected<void> read_extensions(File& file, u64 at, u64 end, Qcow2Header& header, std::vector<u8>& feature_table) {
    while (at + 8 <= end) {
        std::array<u8, 8> head{};
        if (auto read = file.read(at, head); !read) return read;
        const u32 type = load_be32(&head[0]);
        const u64 length = load_be32(&head[4]);
        at += 8;
        if (type == kEnd) return {};
        if (length > end - at) return refused(file, "a header extension does not end within the header's cluster");
        if (type == kBackingFormat) {
            auto text = read_text(file, at, length);
            if (!text) return tl::unexpected(text.error());
            header.backing_format = std::move(*text);
        } else if (type == kFeatureNames) {
            feature_table.resize(length);
            if (auto read = file.read(at, feature_table); !read) return read;
        } else if (type == kBitmaps && length >= 24) {
            std::array<u8, 24> bytes{};
            if (auto read = file.read(at, bytes); !read) return read;
            header.bitmaps = load_be32(&bytes[0]);
            header.bitmap_directory_bytes = load_be64(&bytes[8]);
            header.bitmap_directory_offset = load_be64(&bytes[16]);
        }
        at += round_up(length, 8);
    }
    return {};
}

Expected<void> read_snapshots(File& file, u64 file_size, Qcow2Header& header) {
    if (header.snapshot_count > kMostSnapshots) {
        return refused(file, fmt::format("{} snapshots are too many", header.snapshot_count));
    }
    u64 at = header.snapshots_offset;
    u64 l1_bytes = 0;
    for (u64 i = 0; i < header.snapshot_count; ++i) {
        std::array<u8, kSnapshotEntryBytes> bytes{};
        at = round_up(at, 8);
        if (!lies_within(at, bytes.size(), file_size))
            return refused(file, "its snapshot table is not within the file");
        if (auto read = file.read(at, bytes); !read) return read;
        Qcow2Snapshot snapshot;
        snapshot.l1_offset = load_be64(&bytes[0]);
        snapshot.l1_entries = load_be32(&bytes[8]);
        const u64 id_length = load_be16(&bytes[12]), name_length = load_be16(&bytes[14]);
        snapshot.info.seconds = load_be32(&bytes[16]);
        snapshot.info.vm_state_bytes = load_be32(&bytes[32]);
        const u64 extra_length = load_be32(&bytes[36]);
        at += bytes.size();
        if (extra_length > kMostSnapshotExtra || !lies_within(at, extra_length + id_length + name_length, file_size)) {
            return refused(file, fmt::format("entry {} of its snapshot table is not within the file", i));
        }
        if (extra_length >= 8) {
            std::array<u8, 8> large{};
            if (auto read = file.read(at, large); !read) return read;
            snapshot.info.vm_state_bytes = load_be64(large.data());
        }
        at += extra_length;
        auto id = read_text(file, at, id_length);
        auto name = read_text(file, at + id_length, name_length);
        if (!id || !name) return tl::unexpected((id ? name : id).error());
        snapshot.info.id = std::move(*id);
        snapshot.info.name = std::move(*name);
        at += id_length + name_length;
        if (at - header.snapshots_offset > kLongestSnapshotTable) {
            return refused(file, fmt::format("its snapshot table has more than {} MiB", kLongestSnapshotTable >> 20));
        }
        l1_bytes += snapshot.l1_entries * 8;
        // Every snapshot has an L1 table of its own: together they cannot be larger than the file.
        if (snapshot.l1_entries > kQcow2LongestL1 / 8 || snapshot.l1_offset % header.cluster_size() != 0 ||
            !lies_within(snapshot.l1_offset, snapshot.l1_entries * 8, file_size) || l1_bytes > file_size) {
            return refused(file, fmt::format("the L1 table of its snapshot {} is not within the file", i));
        }
        header.snapshots.push_back(std::move(snapshot));
    }
    header.snapshots_end = at;
    return {};
}

Expected<void> check_geometry(File& file, const Qcow2Header& header, u64 file_size) {
    const u64 cluster = header.cluster_size();
    if (header.l1_entries > kQcow2LongestL1 / 8 || header.l1_offset % cluster != 0 ||
        !lies_within(header.l1_offset, header.l1_entries * 8, file_size)) {
        return refused(file,
                       fmt::format("its L1 table ({} entries at {:#x}) is too large or not within the file, which "
                                   "may have been cut off",
                                   header.l1_entries, header.l1_offset));
    }
    if (header.size > u64{1} << 62 || header.l1_entries < qcow2_l1_entries_for(header.size, header.cluster_bits)) {
        return refused(file, fmt::format("its L1 table of {} entries is too small for a disk of {:#x} bytes",
                                         header.l1_entries, header.size));
    }
    const u64 table_bytes = header.refcount_table_clusters * cluster;
    if (header.refcount_table_clusters == 0 || table_bytes > std::max(kQcow2LongestRefcountTable, cluster) ||
        header.refcount_table_offset % cluster != 0 ||
        !lies_within(header.refcount_table_offset, table_bytes, round_up(file_size, cluster)) ||
        header.refcount_table_offset >= file_size) {
        return refused(file,
                       fmt::format("its refcount table ({} clusters at {:#x}) is too large or not within the file, "
                                   "which may have been cut off",
                                   header.refcount_table_clusters, header.refcount_table_offset));
    }
    if (header.snapshot_count != 0 && header.snapshots_offset % cluster != 0) {
        return refused(file, "its snapshot table does not begin with a cluster");
    }
    return {};
}

}  // namespace

u64 qcow2_l1_entries_for(u64 size, unsigned cluster_bits) { return divide_up(size, u64{1} << (2 * cluster_bits - 3)); }

ImageInfo Qcow2Header::info() const {
    ImageInfo info;
    info.format = Format::Qcow2;
    info.size = size;
    info.cluster_size = cluster_size();
    info.backing_file = backing_file;
    info.backing_format = backing_format;
    info.version = version;
    info.refcount_bits = 1u << refcount_order;
    info.compression = compression;
    info.lazy_refcounts = (compatible & kLazyRefcounts) != 0;
    info.dirty = (incompatible & kDirty) != 0;
    info.corrupt = (incompatible & kCorrupt) != 0;
    for (const Qcow2Snapshot& snapshot : snapshots) info.snapshots.push_back(snapshot.info);
    return info;
}

Expected<Qcow2Header> read_qcow2_header(File& file) {
    std::array<u8, kWithCompression> bytes{};
    if (auto read = file.read(0, bytes); !read) return tl::unexpected(read.error());
    const auto file_size = file.size();
    if (!file_size) return tl::unexpected(file_size.error());
    Qcow2Header header;
    header.version = load_be32(&bytes[4]);
    if (load_be32(&bytes[0]) != kMagic) return refused(file, "it has no header of that format");
    if (header.version != 2 && header.version != 3) {
        return refused(file, fmt::format("it is version {} of the format; dualvm knows 2 and 3", header.version));
    }
    header.cluster_bits = load_be32(&bytes[20]);
    if (header.cluster_bits < kFewestClusterBits || header.cluster_bits > kMostClusterBits) {
        return refused(file, fmt::format("clusters of 2^{} bytes are not 512 bytes to 2 MiB", header.cluster_bits));
    }
    header.size = load_be64(&bytes[24]);
    header.l1_entries = load_be32(&bytes[36]);
    header.l1_offset = load_be64(&bytes[40]);
    header.refcount_table_offset = load_be64(&bytes[48]);
    header.refcount_table_clusters = load_be32(&bytes[56]);
    header.snapshot_count = load_be32(&bytes[60]);
    header.snapshots_offset = load_be64(&bytes[64]);

    u64 header_bytes = kVersion2Bytes;
    if (header.version == 3) {
        header.incompatible = load_be64(&bytes[72]);
        header.compatible = load_be64(&bytes[80]);
        header.autoclear = load_be64(&bytes[88]);
        header.refcount_order = load_be32(&bytes[96]);
        header_bytes = load_be32(&bytes[100]);
        if (header_bytes < kVersion3Bytes || header_bytes > header.cluster_size() || header_bytes % 8 != 0) {
            return refused(file, fmt::format("its header cannot have {} bytes", header_bytes));
        }
        if (header.refcount_order > kMostRefcountOrder) {
            return refused(file, fmt::format("refcounts of 2^{} bits are not 1 to 64 bits", header.refcount_order));
        }
    }
    const u64 name_offset = load_be64(&bytes[8]), name_length = load_be32(&bytes[16]);
    const u64 extensions_end = name_offset != 0 ? std::min(name_offset, header.cluster_size()) : header.cluster_size();
    std::vector<u8> feature_table;
    if (auto read = read_extensions(file, header_bytes, extensions_end, header, feature_table); !read) {
        return tl::unexpected(read.error());
    }
    if (load_be32(&bytes[32]) != 0) {
        return refused(file, "it is encrypted; make a plain one of it with qemu-img convert");
    }
    constexpr u64 kUsable = Qcow2Header::kDirty | Qcow2Header::kCorrupt | Qcow2Header::kCompressionType;
    if (const u64 unknown = header.incompatible & ~kUsable; unknown != 0) {
        return refused(file,
                       fmt::format("it uses {}, which dualvm does not know; qemu-img convert makes an image without",
                                   feature_names(unknown, feature_table)));
    }
    if ((header.incompatible & Qcow2Header::kCompressionType) != 0) {
        const u8 type = header_bytes > kVersion3Bytes ? bytes[kVersion3Bytes] : u8{0};
        if (type > 1)
            return refused(file, fmt::format("it is compressed in a way ({}) that dualvm does not know", type));
        header.compression = type == 1 ? Compression::Zstd : Compression::Zlib;
    }
    if (auto sound = check_geometry(file, header, *file_size); !sound) return tl::unexpected(sound.error());
    if (name_offset != 0 && name_length != 0) {
        if (name_length > kLongestBackingName || !lies_within(name_offset, name_length, header.cluster_size())) {
            return refused(file, "the name of its backing file is too long or not within its first cluster");
        }
        auto name = read_text(file, name_offset, name_length);
        if (!name) return tl::unexpected(name.error());
        header.backing_file = std::move(*name);
    }
    if (auto read = read_snapshots(file, *file_size, header); !read) return tl::unexpected(read.error());
    return header;
}

Expected<std::vector<u8>> encode_qcow2_header(const Qcow2Header& header) {
    std::vector<u8> bytes(header.cluster_size());
    const u64 header_bytes = header.version == 2 ? kVersion2Bytes : kWithCompression;
    store_be32(&bytes[0], kMagic);
    store_be32(&bytes[4], header.version);
    store_be32(&bytes[20], header.cluster_bits);
    store_be64(&bytes[24], header.size);
    store_be32(&bytes[36], static_cast<u32>(header.l1_entries));
    store_be64(&bytes[40], header.l1_offset);
    store_be64(&bytes[48], header.refcount_table_offset);
    store_be32(&bytes[56], static_cast<u32>(header.refcount_table_clusters));
    if (header.version == 3) {
        store_be64(&bytes[72], header.incompatible);
        store_be64(&bytes[80], header.compatible);
        store_be64(&bytes[88], header.autoclear);
        store_be32(&bytes[96], header.refcount_order);
        store_be32(&bytes[100], static_cast<u32>(header_bytes));
        bytes[kVersion3Bytes] = header.compression == Compression::Zstd ? 1 : 0;
    }
    std::size_t at = header_bytes;
    const auto has_room = [&](std::size_t length) { return at + 8 + round_up(length, 8) + 8 <= bytes.size(); };
    const auto extension = [&](u32 type, std::string_view data) {
        store_be32(&bytes[at], type);
        store_be32(&bytes[at + 4], static_cast<u32>(data.size()));
        std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at) + 8);
        at += 8 + round_up(data.size(), 8);
    };
    const u64 name_bytes = header.backing_file.size();
    if (!has_room(header.backing_format.size() + 8 + name_bytes)) {
        return fail(ExitStatus::Usage, "the name of the backing file is too long for clusters of that size");
    }
    if (!header.backing_format.empty()) extension(kBackingFormat, header.backing_format);
    if (header.version == 3 && has_room(std::size(kFeatures) * (2 + kFeatureNameBytes) + 8 + name_bytes)) {
        std::string table;
        for (const Feature& feature : kFeatures) {
            table += static_cast<char>(feature.kind);
            table += static_cast<char>(feature.bit);
            std::string name = feature.name;
            name.resize(kFeatureNameBytes);
            table += name;
        }
        extension(kFeatureNames, table);
    }
    extension(kEnd, "");
    if (name_bytes != 0) {
        store_be64(&bytes[8], at);
        store_be32(&bytes[16], static_cast<u32>(name_bytes));
        std::copy(header.backing_file.begin(), header.backing_file.end(),
                  bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return bytes;
}

Expected<void> write_qcow2_features(File& file, const Qcow2Header& header) {
    std::array<u8, 24> bytes{};
    store_be64(&bytes[0], header.incompatible);
    store_be64(&bytes[8], header.compatible);
    store_be64(&bytes[16], header.autoclear);
    if (auto written = file.write(72, bytes); !written) return written;
    return file.sync();
}

}  // namespace dualvm::storage
