// What qcow and qcow2 have in common: the disk is cut into clusters; where in the file a cluster is, says an entry of
// an L2 table; where the L2 tables are, says the one L1 table. An offset on the disk is, from the top: index into L1,
// index into L2, offset in the cluster.
//
// Order of writes. After a crash at any moment the image must be sound, and have what was flushed. So the file never
// points to what may not be there yet: data is written at once, to clusters that nothing refers to; the entries that
// refer to them wait in memory until flush(), which (1) writes what says that the new clusters are in use, and L2
// tables that no L1 entry points to yet, (2) waits for the host to have all that (fsync), (3) writes entries of
// existing L2 tables and of L1, (4) waits again, and (5) only then gives up clusters that they referred to before. A
// crash in between can leave clusters that are in use for nothing ("leaks"), which do no harm.
#pragma once

#include <set>

#include "dualvm/storage/image.h"
#include "range_set.h"
#include "table_cache.h"

namespace dualvm::storage {

class ClusteredImage : public Image {
public:
    struct Parts {
        std::unique_ptr<File> file;
        std::unique_ptr<Image> backing;
        bool writable = false;
        ImageInfo info;
        unsigned cluster_bits = 0, l2_bits = 0;
        u64 l1_offset = 0;
        std::vector<u64> l1;
    };

    u64 size_in_sectors() const final { return sectors_; }
    bool read_only() const final { return !writable_; }
    const ImageInfo& info() const final { return info_; }
    Expected<void> read(u64 offset, std::span<u8> to) final;
    Expected<void> write(u64 offset, std::span<const u8> from) final;
    Expected<void> flush() final;
    Expected<Extent> extent(u64 offset) final;
    bool can_compress() const final { return true; }
    Expected<void> write_compressed(u64 offset, std::span<const u8> cluster) final;

protected:
    // Where the contents of a cluster of the disk are.
    struct Mapping {
        enum class Kind : u8 { Unallocated, Zero, Data, Compressed };
        Kind kind = Kind::Unallocated;
        bool in_place = false;  // Data: nothing else refers to it, so it may be written to
        u64 host = 0;           // offset in the file
        u64 bytes = 0;          // Compressed: how long
    };
    explicit ClusteredImage(Parts parts, u64 file_end);

    // --- what the formats differ in ---
    // An L1 entry: the table's place in the file (0: none), and whether it may be written to.
    virtual Expected<Mapping> decode_l1(u64 entry) const = 0;
    virtual u64 encode_l1(u64 host) const = 0;
    virtual Expected<Mapping> decode_l2(u64 entry) const = 0;
    virtual u64 encode_data(u64 host) const = 0;
    virtual u64 encode_compressed(u64 host, u64 bytes) const = 0;
    // A free place for a cluster or an L2 table of the file.
    virtual Expected<u64> allocate(u64 bytes) = 0;
    // The same for compressed data, at any byte.
    virtual Expected<u64> allocate_compressed(u64 bytes) = 0;
    // It was allocated, and nothing came of it.
    virtual void take_back(u64 host, u64 bytes) = 0;
    // Nothing refers to it any more, once step 4 is done.
    virtual void release_later(u64 host, u64 bytes) = 0;
    // Step 1, and step 5.
    virtual Expected<void> write_allocations() { return {}; }
    virtual Expected<void> release_now() { return {}; }
    virtual Expected<std::vector<u8>> decompress(std::span<const u8> bytes) const = 0;
    // Nothing if it would not become smaller.
    virtual Expected<std::vector<u8>> compress(std::span<const u8> cluster) const = 0;

    unsigned cluster_bits() const { return cluster_bits_; }
    u64 cluster_size() const { return u64{1} << cluster_bits_; }
    std::size_t l2_bytes() const { return std::size_t{8} << l2_bits_; }
    const std::vector<u64>& l1() const { return l1_; }
    // An entry may only point to what is there. (The last cluster may be there in part: the rest is zeros.)
    Expected<void> must_be_in_file(u64 host, u64 length, const char* what) const;
    tl::unexpected<Error> damaged(std::string_view how) const;
    // For the destructors of the formats, in which they are still whole.
    void flush_at_end();

    std::unique_ptr<File> file_;
    RangeSet metadata_;      // what may not be written over, if the image is writable
    u64 file_end_;           // nothing was ever written behind it
    bool unsynced_ = false;  // something was written since the last fsync

private:
    struct Place {
        TableCache::Table* table = nullptr;  // null: there is none
        std::size_t at = 0;                  // of the entry, in its bytes
    };
    struct Run {
        Mapping mapping;
        u64 length = 0;  // from the offset asked for on
    };
    Expected<void> must_be_inside(u64 offset, u64 length) const;
    Expected<Place> place_of(u64 offset);
    Expected<Place> place_for_writing(u64 offset);
    Expected<Run> run_at(u64 offset, u64 at_most);
    Expected<void> read_run(const Run& run, u64 offset, std::span<u8> to);
    Expected<void> read_backing(u64 offset, std::span<u8> to);
    Expected<void> write_in_cluster(u64 offset, std::span<const u8> from);
    Expected<void> write_new_cluster(u64 offset, std::span<const u8> from, const Mapping& old, u64 host);
    Expected<void> write_to_file(u64 host, std::span<const u8> from);
    Expected<const std::vector<u8>*> decompressed(const Mapping& mapping);
    Expected<void> write_metadata();
    Expected<void> sync();

    std::unique_ptr<Image> backing_;
    bool writable_;
    ImageInfo info_;
    u64 sectors_;
    unsigned cluster_bits_, l2_bits_;
    u64 l1_offset_;
    std::vector<u64> l1_;
    std::set<u64> dirty_l1_;  // indexes
    TableCache l2_;
    std::vector<u8> cluster_buffer_;
    // The compressed cluster that was read last: guests read in smaller pieces.
    Mapping decompressed_;
    std::vector<u8> decompressed_bytes_;
};

}  // namespace dualvm::storage
