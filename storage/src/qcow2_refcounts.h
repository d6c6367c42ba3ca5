// How often each cluster of a qcow2 file is in use: the refcount table points to refcount blocks, which have a count of
// 2^refcount_order bits for each cluster. Free clusters are found here.
#pragma once

#include <set>

#include "qcow2_header.h"
#include "range_set.h"
#include "table_cache.h"

namespace dualvm::storage {

class Qcow2Refcounts {
public:
    // `metadata`: what may not be given away, whatever its count says; blocks made here are entered there.
    Qcow2Refcounts(File& file, const Qcow2Header& header, RangeSet& metadata);

    // Reads the table; its blocks must lie in the file.
    Expected<void> load();
    const std::vector<u64>& table() const { return table_; }
    u64 table_offset() const { return table_offset_; }
    u64 table_clusters() const { return table_.size() * 8 / cluster_size_; }
    u64 largest() const { return largest_; }

    Expected<u64> get(u64 cluster);
    Expected<void> set(u64 cluster, u64 count);
    Expected<void> add(u64 cluster, i64 how_many);
    // Free clusters one after another, which from now on have a count of 1; the first one's number.
    Expected<u64> allocate(u64 clusters);
    // All changes, in an order that is sound at any moment.
    Expected<void> write();
    bool has_changes() const { return blocks_.has_dirty(); }
    // Behind the last byte that was written here without write().
    u64 written_end() const { return written_end_; }

    // For repairs: a block for `cluster`, somewhere behind `file_end`.
    Expected<void> make_block_for(u64 cluster, u64 file_end);

private:
    Expected<void> create_block(u64 index, u64 host_cluster);
    Expected<void> grow_table();
    Expected<void> must_be_free(u64 host, u64 bytes) const;
    void store(std::vector<u8>& block, u64 at, u64 count) const;

    File& file_;
    RangeSet& metadata_;
    u64 cluster_size_;
    unsigned order_;
    u64 per_block_;
    u64 largest_;
    u64 table_offset_, entries_;
    std::vector<u64> table_;
    std::set<u64> new_blocks_;  // indexes into table_ that the file does not have yet
    TableCache blocks_;
    u64 written_end_ = 0;
    u64 maybe_free_ = 0;  // no cluster before this one is free
};

}  // namespace dualvm::storage
