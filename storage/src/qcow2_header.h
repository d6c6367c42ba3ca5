// The header of qcow2 images (QEMU's docs/interop/qcow2.txt, whose names are used here), and the snapshot table.
#pragma once

#include "dualvm/storage/image.h"

namespace dualvm::storage {

struct Qcow2Snapshot {
    SnapshotInfo info;
    u64 l1_offset = 0, l1_entries = 0;
};

struct Qcow2Header {
    unsigned version = 3;
    u64 size = 0;
    unsigned cluster_bits = 16;
    u64 l1_offset = 0, l1_entries = 0;
    u64 refcount_table_offset = 0, refcount_table_clusters = 0;
    u64 snapshots_offset = 0, snapshot_count = 0;
    u64 snapshots_end = 0;  // found by reading the table
    std::vector<Qcow2Snapshot> snapshots;
    u64 incompatible = 0, compatible = 0, autoclear = 0;
    unsigned refcount_order = 4;  // refcounts have 2^refcount_order bits
    Compression compression = Compression::Zlib;
    std::string backing_file, backing_format;
    u64 bitmaps = 0, bitmap_directory_offset = 0, bitmap_directory_bytes = 0;

    // incompatible features
    static constexpr u64 kDirty = 1, kCorrupt = 2, kExternalData = 4, kCompressionType = 8, kExtendedL2 = 16;
    static constexpr u64 kLazyRefcounts = 1;      // a compatible feature
    static constexpr u64 kConsistentBitmaps = 1;  // an autoclear feature

    u64 cluster_size() const { return u64{1} << cluster_bits; }
    unsigned l2_bits() const { return cluster_bits - 3; }
    ImageInfo info() const;
};

constexpr u64 kQcow2LongestL1 = u64{32} << 20;            // bytes; as in QEMU
constexpr u64 kQcow2LongestRefcountTable = u64{8} << 20;  // bytes; as in QEMU
constexpr u64 kQcow2OffsetMask = 0x00fffffffffffe00;      // of L1, L2 and refcount table entries
constexpr u64 kQcow2Copied = u64{1} << 63;                // refcount is exactly one
constexpr u64 kQcow2Compressed = u64{1} << 62;
constexpr u64 kQcow2Zero = 1;

u64 qcow2_l1_entries_for(u64 size, unsigned cluster_bits);

// With everything in it that can be looked at without its tables; what dualvm cannot use is refused, by name.
Expected<Qcow2Header> read_qcow2_header(File& file);
// The first cluster of an image: header, extensions, the backing file's name.
Expected<std::vector<u8>> encode_qcow2_header(const Qcow2Header& header);
// Only the two fields of feature bits, which lie in one sector.
Expected<void> write_qcow2_features(File& file, const Qcow2Header& header);

}  // namespace dualvm::storage
