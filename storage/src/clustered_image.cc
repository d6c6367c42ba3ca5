#include "clustered_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "big_endian.h"

namespace dualvm::storage {

namespace {

// Memory for L2 tables: at least a few, and so many that those of the usual 64 KiB map 32 GiB.
constexpr std::size_t kCacheBytes = std::size_t{4} << 20;
constexpr std::size_t kFewestTables = 4;

}  // namespace

ClusteredImage::ClusteredImage(Parts parts, u64 file_end)
    : file_(std::move(parts.file)),
      file_end_(file_end),
      backing_(std::move(parts.backing)),
      writable_(parts.writable),
      info_(std::move(parts.info)),
      sectors_(divide_up(info_.size, kSectorSize)),
      cluster_bits_(parts.cluster_bits),
      l2_bits_(parts.l2_bits),
      l1_offset_(parts.l1_offset),
      l1_(std::move(parts.l1)),
      l2_(*file_, l2_bytes(), std::max(kFewestTables, kCacheBytes / l2_bytes())) {}

tl::unexpected<Error> ClusteredImage::damaged(std::string_view how) const {
    return fail(ExitStatus::BadImage,
                fmt::format("{} is damaged: {}; 'dualvm img check' tells more", file_->name(), how));
}

Expected<void> ClusteredImage::must_be_in_file(u64 host, u64 length, const char* what) const {
    if (host < file_end_ && length <= file_end_ - host) return {};
    return damaged(fmt::format("{} at {:#x} is not within the file of {:#x} bytes, which may have been cut off", what,
                               host, file_end_));
}

Expected<void> ClusteredImage::must_be_inside(u64 offset, u64 length) const {
    const u64 size = sectors_ * kSectorSize;
    if (offset % kSectorSize == 0 && length % kSectorSize == 0 && offset <= size && length <= size - offset) return {};
    return fail(ExitStatus::BadImage,
                fmt::format("{:#x} bytes at {:#x} are not whole sectors of {}'s disk of {:#x} bytes", length, offset,
                            file_->name(), size));
}

// --- finding ---------------------------------------------------------------------------------------------------------

Expected<ClusteredImage::Place> ClusteredImage::place_of(u64 offset) {
    const u64 l1_index = offset >> (cluster_bits_ + l2_bits_);
    const auto table = decode_l1(l1_[l1_index]);
    if (!table) return tl::unexpected(table.error());
    if (table->host == 0) return Place{};
    const auto loaded = l2_.get(table->host);
    if (!loaded) return tl::unexpected(loaded.error());
    return Place{*loaded, ((offset >> cluster_bits_) & ((u64{1} << l2_bits_) - 1)) * 8};
}

// The mapping at `offset`, and how far the next clusters go on like it, as far as the same L2 table knows.
Expected<ClusteredImage::Run> ClusteredImage::run_at(u64 offset, u64 at_most) {
    const auto place = place_of(offset);
    if (!place) return tl::unexpected(place.error());
    if (place->table == nullptr) {
        const u64 per_table = cluster_size() << l2_bits_;
        return Run{{}, std::min(at_most, per_table - offset % per_table)};
    }
    const auto& bytes = place->table->bytes;
    auto first = decode_l2(load_be64(&bytes[place->at]));
    if (!first) return tl::unexpected(first.error());
    u64 length = cluster_size() - offset % cluster_size();
    for (std::size_t at = place->at + 8; length < at_most && at < bytes.size(); at += 8) {
        if (first->kind == Mapping::Kind::Compressed) break;
        const auto next = decode_l2(load_be64(&bytes[at]));
        if (!next || next->kind != first->kind || next->in_place != first->in_place) break;
        if (first->kind == Mapping::Kind::Data && next->host != first->host + offset % cluster_size() + length) break;
        length += cluster_size();
    }
    return Run{*first, std::min(length, at_most)};
}

Expected<Extent> ClusteredImage::extent(u64 offset) {
    if (auto inside = must_be_inside(offset, 0); !inside) return tl::unexpected(inside.error());
    const u64 size = sectors_ * kSectorSize;
    Extent extent;
    // A few tables at a time: whoever wants more asks again.
    for (int i = 0; i < 1024 && offset < size; ++i) {
        auto run = run_at(offset, size - offset);
        if (!run) return tl::unexpected(run.error());
        bool zero = run->mapping.kind == Mapping::Kind::Unallocated || run->mapping.kind == Mapping::Kind::Zero;
        if (run->mapping.kind == Mapping::Kind::Unallocated && backing_ && offset < backing_->size()) {
            auto behind = backing_->extent(offset);
            if (!behind) return behind;
            zero = behind->zero;
            run->length = std::min(run->length, behind->length);
        }
        if (extent.length != 0 && zero != extent.zero) break;
        extent.zero = zero;
        extent.length += run->length;
        offset += run->length;
    }
    return extent;
}

// --- reading ---------------------------------------------------------------------------------------------------------

Expected<void> ClusteredImage::read(u64 offset, std::span<u8> to) {
    if (auto inside = must_be_inside(offset, to.size()); !inside) return inside;
    while (!to.empty()) {
        const auto run = run_at(offset, to.size());
        if (!run) return tl::unexpected(run.error());
        if (auto done = read_run(*run, offset, to.first(run->length)); !done) return done;
        to = to.subspan(run->length);
        offset += run->length;
    }
    return {};
}

Expected<void> ClusteredImage::read_run(const Run& run, u64 offset, std::span<u8> to) {
    const u64 in_cluster = offset % cluster_size();
    switch (run.mapping.kind) {
        case Mapping::Kind::Unallocated: return read_backing(offset, to);
        case Mapping::Kind::Zero: std::fill(to.begin(), to.end(), u8{0}); return {};
        case Mapping::Kind::Data: return file_->read(run.mapping.host + in_cluster, to);
        case Mapping::Kind::Compressed: {
            const auto bytes = decompressed(run.mapping);
            if (!bytes) return tl::unexpected(bytes.error());
            std::copy_n((*bytes)->begin() + static_cast<std::ptrdiff_t>(in_cluster), to.size(), to.begin());
            return {};
        }
    }
    return {};
}

// A backing file that is shorter than this disk goes on with zeros.
Expected<void> ClusteredImage::read_backing(u64 offset, std::span<u8> to) {
    const u64 size = backing_ ? backing_->size() : 0;
    const u64 there = offset < size ? std::min<u64>(to.size(), size - offset) : 0;
    std::fill(to.begin() + static_cast<std::ptrdiff_t>(there), to.end(), u8{0});
    return there == 0 ? Expected<void>{} : backing_->read(offset, to.first(there));
}

Expected<const std::vector<u8>*> ClusteredImage::decompressed(const Mapping& mapping) {
    if (decompressed_.host == mapping.host && decompressed_.bytes == mapping.bytes && !decompressed_bytes_.empty()) {
        return &decompressed_bytes_;
    }
    decompressed_bytes_.clear();
    std::vector<u8> packed(mapping.bytes);
    if (auto read = file_->read(mapping.host, packed); !read) return tl::unexpected(read.error());
    auto bytes = decompress(packed);
    if (!bytes) return damaged(fmt::format("compressed cluster at {:#x}: {}", mapping.host, bytes.error().text));
    decompressed_ = mapping;
    decompressed_bytes_ = std::move(*bytes);
    return &decompressed_bytes_;
}

// --- writing ---------------------------------------------------------------------------------------------------------

Expected<void> ClusteredImage::write(u64 offset, std::span<const u8> from) {
    if (auto inside = must_be_inside(offset, from.size()); !inside) return inside;
    if (!writable_) return fail(ExitStatus::BadImage, fmt::format("{} is open for reading only", file_->name()));
    while (!from.empty()) {
        if (l2_.crowded()) {
            if (auto written = write_metadata(); !written) return written;
        }
        const auto run = run_at(offset, from.size());
        if (!run) return tl::unexpected(run.error());
        u64 length = run->length;
        if (run->mapping.kind == Mapping::Kind::Data && run->mapping.in_place) {
            if (auto done = write_to_file(run->mapping.host + offset % cluster_size(), from.first(length)); !done) {
                return done;
            }
        } else {
            length = std::min(length, cluster_size() - offset % cluster_size());
            if (auto done = write_in_cluster(offset, from.first(length)); !done) return done;
        }
        from = from.subspan(length);
        offset += length;
    }
    return {};
}

Expected<void> ClusteredImage::write_to_file(u64 host, std::span<const u8> from) {
    if (metadata_.overlaps(host, from.size())) {
        return damaged(fmt::format("data at {:#x} would be written over the image's own tables", host));
    }
    unsynced_ = true;
    file_end_ = std::max(file_end_, host + from.size());  // a write that fails may have done some of it
    return file_->write(host, from);
}

// The L2 entry of `offset`, in a table that may be written to: a new one, or a copy, if need be.
Expected<ClusteredImage::Place> ClusteredImage::place_for_writing(u64 offset) {
    const u64 l1_index = offset >> (cluster_bits_ + l2_bits_);
    const auto old = decode_l1(l1_[l1_index]);
    if (!old) return tl::unexpected(old.error());
    if (old->host != 0 && old->in_place) return place_of(offset);

    std::vector<u8> contents(l2_bytes());
    if (old->host != 0) {
        const auto table = l2_.get(old->host);
        if (!table) return tl::unexpected(table.error());
        contents = (*table)->bytes;
    }
    const auto host = allocate(l2_bytes());
    if (!host) return tl::unexpected(host.error());
    // Takes the space on the host now, so that a full disk is found out by the guest's write and not by its flush.
    if (auto written = write_to_file(*host, contents); !written) {
        take_back(*host, l2_bytes());
        return tl::unexpected(written.error());
    }
    metadata_.add(*host, l2_bytes());
    l2_.create(*host).bytes = std::move(contents);
    l1_[l1_index] = encode_l1(*host);
    dirty_l1_.insert(l1_index);
    if (old->host != 0) release_later(old->host, l2_bytes());
    return place_of(offset);
}

// Part of a cluster, or all of it, that must go to a new place in the file.
Expected<void> ClusteredImage::write_in_cluster(u64 offset, std::span<const u8> from) {
    const auto place = place_for_writing(offset);
    if (!place) return tl::unexpected(place.error());
    const auto old = decode_l2(load_be64(&place->table->bytes[place->at]));
    if (!old) return tl::unexpected(old.error());
    const auto host = allocate(cluster_size());
    if (!host) return tl::unexpected(host.error());
    if (auto written = write_new_cluster(offset, from, *old, *host); !written) {
        take_back(*host, cluster_size());
        return written;
    }
    store_be64(&place->table->bytes[place->at], encode_data(*host));
    l2_.mark_dirty(*place->table);
    if (old->kind == Mapping::Kind::Compressed) decompressed_bytes_.clear();
    if (old->host != 0) release_later(old->host, old->kind == Mapping::Kind::Compressed ? old->bytes : cluster_size());
    return {};
}

// The whole cluster at `host`: `from`, and around it what was there before.
Expected<void> ClusteredImage::write_new_cluster(u64 offset, std::span<const u8> from, const Mapping& old, u64 host) {
    const u64 begin = offset - offset % cluster_size();
    if (from.size() == cluster_size()) return write_to_file(host, from);
    const bool zero = old.kind == Mapping::Kind::Zero ||
                      (old.kind == Mapping::Kind::Unallocated && (!backing_ || begin >= backing_->size()));
    if (zero && host >= file_end_) {  // nothing was ever there: the host has zeros, which need not be written
        if (auto grown = file_->resize(host + cluster_size()); !grown) return grown;
        if (auto written = write_to_file(host + offset - begin, from); !written) return written;
        file_end_ = host + cluster_size();
        return {};
    }
    cluster_buffer_.resize(cluster_size());
    if (auto read = read_run({old, cluster_size()}, begin, cluster_buffer_); !read) return read;
    std::copy(from.begin(), from.end(), cluster_buffer_.begin() + static_cast<std::ptrdiff_t>(offset - begin));
    return write_to_file(host, cluster_buffer_);
}

Expected<void> ClusteredImage::write_compressed(u64 offset, std::span<const u8> cluster) {
    const auto run = run_at(offset, cluster.size());
    if (!run) return tl::unexpected(run.error());
    const bool whole = offset % cluster_size() == 0 && cluster.size() == cluster_size();
    if (!writable_ || !whole || run->mapping.kind != Mapping::Kind::Unallocated) return write(offset, cluster);
    const auto packed = compress(cluster);
    if (!packed) return tl::unexpected(packed.error());
    if (packed->empty()) return write(offset, cluster);
    if (l2_.crowded()) {
        if (auto written = write_metadata(); !written) return written;
    }
    const auto place = place_for_writing(offset);
    if (!place) return tl::unexpected(place.error());
    const auto host = allocate_compressed(packed->size());
    if (!host) return tl::unexpected(host.error());
    if (auto written = write_to_file(*host, *packed); !written) {
        take_back(*host, packed->size());
        return written;
    }
    store_be64(&place->table->bytes[place->at], encode_compressed(*host, packed->size()));
    l2_.mark_dirty(*place->table);
    return {};
}

// --- making it last --------------------------------------------------------------------------------------------------

Expected<void> ClusteredImage::sync() {
    if (!unsynced_) return {};
    if (auto synced = file_->sync(); !synced) return synced;
    unsynced_ = false;
    return {};
}

// Steps 1 to 5; see the top of clustered_image.h.
Expected<void> ClusteredImage::write_metadata() {
    if (auto written = write_allocations(); !written) return written;
    unsynced_ |= l2_.has_dirty();
    if (auto written = l2_.write_fresh(); !written) return written;
    if (!l2_.has_dirty() && dirty_l1_.empty()) return release_now();
    if (auto synced = sync(); !synced) return synced;

    unsynced_ = true;
    if (auto written = l2_.write_others(); !written) return written;
    while (!dirty_l1_.empty()) {
        const u64 index = *dirty_l1_.begin();
        std::array<u8, 8> bytes{};
        store_be64(bytes.data(), l1_[index]);
        if (auto written = file_->write(l1_offset_ + index * 8, bytes); !written) return written;
        dirty_l1_.erase(dirty_l1_.begin());
    }
    l2_.no_longer_fresh();
    if (auto synced = sync(); !synced) return synced;
    return release_now();
}

Expected<void> ClusteredImage::flush() {
    if (!writable_) return {};
    if (auto written = write_metadata(); !written) return written;
    return sync();
}

void ClusteredImage::flush_at_end() {
    // Nobody is left to be told of a failure: who wants to know flushes before, and then there is nothing left to do.
    if (!writable_ || !write_metadata()) return;
    static_cast<void>(write_allocations());  // what step 5 gave up
}

}  // namespace dualvm::storage
