#include "qcow2_refcounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "big_endian.h"
#include "tables.h"

namespace dualvm::storage {

namespace {

constexpr std::size_t kCacheBytes = std::size_t{2} << 20;
constexpr std::size_t kFewestBlocks = 4;

}  // namespace

Qcow2Refcounts::Qcow2Refcounts(File& file, const Qcow2Header& header, RangeSet& metadata)
    : file_(file),
      metadata_(metadata),
      cluster_size_(header.cluster_size()),
      order_(header.refcount_order),
      per_block_(cluster_size_ * 8 >> order_),
      largest_(order_ == 6 ? std::numeric_limits<u64>::max() : (u64{1} << (1u << order_)) - 1),
      table_offset_(header.refcount_table_offset),
      entries_(header.refcount_table_clusters * cluster_size_ / 8),
      blocks_(file, cluster_size_, std::max<std::size_t>(kFewestBlocks, kCacheBytes / cluster_size_)) {}

Expected<void> Qcow2Refcounts::load() {
    auto table = read_table(file_, table_offset_, entries_);
    if (!table) return tl::unexpected(table.error());
    const auto file_size = file_.size();
    if (!file_size) return tl::unexpected(file_size.error());
    for (u64& entry : *table) {
        entry &= ~u64{0x1ff};  // reserved bits
        if (entry == 0) continue;
        if (entry % cluster_size_ != 0 || !lies_within(entry, cluster_size_, *file_size)) {
            return fail(ExitStatus::BadImage,
                        fmt::format("{} is damaged: the refcount block at {:#x} is not a cluster of "
                                    "the file; 'dualvm img check' tells more",
                                    file_.name(), entry));
        }
    }
    table_ = std::move(*table);
    return {};
}

Expected<u64> Qcow2Refcounts::get(u64 cluster) {
    const u64 index = cluster / per_block_;
    if (index >= table_.size() || table_[index] == 0) return 0;
    const auto block = blocks_.get(table_[index]);
    if (!block) return tl::unexpected(block.error());
    const u8* bytes = (*block)->bytes.data();
    const u64 at = cluster % per_block_;
    switch (order_) {
        case 3: return bytes[at];
        case 4: return load_be16(bytes + at * 2);
        case 5: return load_be32(bytes + at * 4);
        case 6: return load_be64(bytes + at * 8);
        default: {  // several in a byte, the first one in its lowest bits
            const unsigned bits = 1u << order_;
            return u64{bytes[at * bits / 8]} >> (at * bits % 8) & largest_;
        }
    }
}

void Qcow2Refcounts::store(std::vector<u8>& block, u64 at, u64 count) const {
    u8* bytes = block.data();
    switch (order_) {
        case 3: bytes[at] = static_cast<u8>(count); break;
        case 4: store_be16(bytes + at * 2, static_cast<u16>(count)); break;
        case 5: store_be32(bytes + at * 4, static_cast<u32>(count)); break;
        case 6: store_be64(bytes + at * 8, count); break;
        default: {
            const unsigned bits = 1u << order_;
            const u64 shift = at * bits % 8;
            u8& byte = bytes[at * bits / 8];
            byte = static_cast<u8>((byte & ~(largest_ << shift)) | count << shift);
        }
    }
}

Expected<void> Qcow2Refcounts::set(u64 cluster, u64 count) {
    const u64 index = cluster / per_block_;
    if (count > largest_ || index >= table_.size() || table_[index] == 0) {
        return fail(ExitStatus::BadImage,
                    fmt::format("{}: cluster {} cannot be referred to {} times, with refcounts of {} "
                                "bits",
                                file_.name(), cluster, count, 1u << order_));
    }
    const auto block = blocks_.get(table_[index]);
    if (!block) return tl::unexpected(block.error());
    store((*block)->bytes, cluster % per_block_, count);
    blocks_.mark_dirty(**block);
    if (count == 0) maybe_free_ = std::min(maybe_free_, cluster);
    return {};
}

Expected<void> Qcow2Refcounts::add(u64 cluster, i64 how_many) {
    const auto count = get(cluster);
    if (!count) return tl::unexpected(count.error());
    // A damaged image may refer to what its counts call free; then there is nothing to give up.
    if (how_many < 0 && *count == 0) return {};
    return set(cluster, *count + static_cast<u64>(how_many));
}

Expected<void> Qcow2Refcounts::must_be_free(u64 host, u64 bytes) const {
    if (host + bytes > kQcow2OffsetMask) {
        return fail(ExitStatus::BadImage,
                    fmt::format("{} cannot grow any more: the format has no larger offsets", file_.name()));
    }
    if (!metadata_.overlaps(host, bytes)) return {};
    return fail(ExitStatus::BadImage,
                fmt::format("{} is damaged: its refcounts say that the cluster at {:#x} is free, but it is one of the "
                            "image's own tables; 'dualvm img check' tells more",
                            file_.name(), host));
}

Expected<u64> Qcow2Refcounts::allocate(u64 clusters) {
    u64 first = maybe_free_;
    u64 found = 0;
    while (found < clusters) {
        const u64 cluster = first + found;
        const u64 index = cluster / per_block_;
        if (index >= table_.size()) {
            if (auto grown = grow_table(); !grown) return tl::unexpected(grown.error());
            continue;
        }
        if (table_[index] == 0) {
            // Everything here is free: the block that says so may lie right here, and count itself.
            if (auto created = create_block(index, cluster); !created) return tl::unexpected(created.error());
            first = cluster + 1;
            found = 0;
            continue;
        }
        const auto count = get(cluster);
        if (!count) return tl::unexpected(count.error());
        if (*count != 0) {
            first = cluster + 1;
            found = 0;
            continue;
        }
        if (auto free = must_be_free(cluster * cluster_size_, cluster_size_); !free)
            return tl::unexpected(free.error());
        ++found;
    }
    for (u64 cluster = first; cluster < first + clusters; ++cluster) {
        if (auto done = set(cluster, 1); !done) return tl::unexpected(done.error());
    }
    // Clusters that were passed over because too few lay together are found again by those who want fewer.
    if (clusters == 1) maybe_free_ = first + 1;
    return first;
}

Expected<void> Qcow2Refcounts::create_block(u64 index, u64 host_cluster) {
    const u64 host = host_cluster * cluster_size_;
    if (auto free = must_be_free(host, cluster_size_); !free) return free;
    written_end_ = std::max(written_end_, host + cluster_size_);
    // Takes the space on the host now: later, with nothing to write it to, the block would be lost.
    if (auto written = file_.write(host, std::vector<u8>(cluster_size_)); !written) return written;
    TableCache::Table& block = blocks_.create(host);
    if (host_cluster / per_block_ == index) store(block.bytes, host_cluster % per_block_, 1);
    table_[index] = host;
    new_blocks_.insert(index);
    metadata_.add(host, cluster_size_);
    return {};
}

// A larger table, and blocks for where it and they lie: behind all that the present table can count.
Expected<void> Qcow2Refcounts::grow_table() {
    if (auto written = write(); !written) return written;
    const u64 first = table_.size() * per_block_;
    u64 clusters = 0, blocks = 0, entries = table_.size() + std::max<u64>(table_.size() / 2, 1);
    for (u64 before = 0; clusters == 0 || clusters + blocks != before;) {
        before = clusters + blocks;
        clusters = divide_up(std::max(entries, table_.size() + blocks) * 8, cluster_size_);
        blocks = divide_up(clusters + blocks, per_block_);
    }
    if (clusters * cluster_size_ > std::max(kQcow2LongestRefcountTable, cluster_size_)) {
        return fail(ExitStatus::BadImage,
                    fmt::format("{} cannot grow any more: its refcount table would have more than {} "
                                "MiB; convert it to an image with larger clusters",
                                file_.name(), kQcow2LongestRefcountTable >> 20));
    }
    entries = clusters * cluster_size_ / 8;
    const u64 table_host = (first + blocks) * cluster_size_;
    if (auto free = must_be_free(first * cluster_size_, (blocks + clusters) * cluster_size_); !free) return free;

    written_end_ = std::max(written_end_, table_host + clusters * cluster_size_);
    std::vector<u64> table = table_;
    table.resize(entries);
    for (u64 i = 0; i < blocks; ++i) {
        std::vector<u8> block(cluster_size_);
        for (u64 at = 0; at < per_block_ && i * per_block_ + at < blocks + clusters; ++at) store(block, at, 1);
        const u64 host = (first + i) * cluster_size_;
        if (auto written = file_.write(host, block); !written) return written;
        table[table_.size() + i] = host;
    }
    std::vector<u8> bytes(clusters * cluster_size_);
    for (u64 i = 0; i < entries; ++i) store_be64(&bytes[i * 8], table[i]);
    if (auto written = file_.write(table_host, bytes); !written) return written;
    if (auto synced = file_.sync(); !synced) return synced;
    // Where and how large: 12 bytes of one sector, so there is never half of it.
    std::array<u8, 12> fields{};
    store_be64(&fields[0], table_host);
    store_be32(&fields[8], static_cast<u32>(clusters));
    if (auto written = file_.write(48, fields); !written) return written;
    if (auto synced = file_.sync(); !synced) return synced;

    const u64 old_first = table_offset_ / cluster_size_, old_clusters = table_clusters();
    metadata_.remove(table_offset_);
    metadata_.add(table_host, clusters * cluster_size_);
    for (u64 i = 0; i < blocks; ++i) metadata_.add((first + i) * cluster_size_, cluster_size_);
    table_offset_ = table_host;
    table_ = std::move(table);
    for (u64 i = 0; i < old_clusters; ++i) {
        if (auto done = add(old_first + i, -1); !done) return done;
    }
    return {};
}

Expected<void> Qcow2Refcounts::write() {
    if (!new_blocks_.empty()) {
        // A block must be there before the table points to it.
        if (auto written = blocks_.write_fresh(); !written) return written;
        if (auto synced = file_.sync(); !synced) return synced;
        while (!new_blocks_.empty()) {
            const u64 index = *new_blocks_.begin();
            std::array<u8, 8> entry{};
            store_be64(entry.data(), table_[index]);
            if (auto written = file_.write(table_offset_ + index * 8, entry); !written) return written;
            new_blocks_.erase(new_blocks_.begin());
        }
        blocks_.no_longer_fresh();
    }
    return blocks_.write_others();
}

Expected<void> Qcow2Refcounts::make_block_for(u64 cluster, u64 file_end) {
    const u64 index = cluster / per_block_;
    maybe_free_ = std::max({maybe_free_, divide_up(file_end, cluster_size_), cluster});
    while (index >= table_.size()) {
        if (auto grown = grow_table(); !grown) return grown;
    }
    const auto place = allocate(1);
    if (!place) return tl::unexpected(place.error());
    if (table_[index] != 0) return set(*place, 0);  // the place itself was in need of that block, and it is there now
    return create_block(index, *place);
}

}  // namespace dualvm::storage
