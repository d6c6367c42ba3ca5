// Checks a qcow2 image: counts how often each cluster of the file is referred to, and compares with the refcounts.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "big_endian.h"
#include "qcow2_image.h"
#include "qcow2_refcounts.h"
#include "reference_counts.h"
#include "tables.h"

namespace dualvm::storage {

namespace {

class Checker {
public:
    Checker(File& file, const Qcow2Header& header, u64 file_size)
        : file_(file),
          header_(header),
          file_size_(file_size),
          cluster_(header.cluster_size()),
          refcounts_(file, header, metadata_) {}

    Expected<CheckReport> run(Repair repair) {
        report_.disk_clusters = divide_up(header_.size, cluster_);
        if (auto done = count_all(); !done) return tl::unexpected(done.error());
        if (too_many_) {
            return fail(ExitStatus::BadImage, fmt::format("{} refers to clusters strewn over so large a file that they "
                                                          "can't all be counted; it is damaged or not an image",
                                                          file_.name()));
        }
        const auto loaded = refcounts_.load();
        if (!loaded) {
            // Without its blocks nothing can be compared.
            report_.corruption(loaded.error().text);
            return report_;
        }
        if (auto done = compare(); !done) return tl::unexpected(done.error());
        if (auto done = compare_copied_flags(false); !done) return tl::unexpected(done.error());
        if (repair != Repair::Nothing) {
            if (auto done = mend(repair); !done) return tl::unexpected(done.error());
        }
        return report_;
    }

private:
    // --- counting ---

    // One more use of that part of the file, for `what`.
    bool refer(u64 host, u64 bytes, u64 times, std::string_view what) {
        if (bytes == 0) return true;
        if (host >= round_up(file_size_, cluster_) || bytes > round_up(file_size_, cluster_) - host) {
            report_.corruption(
                fmt::format("{} at {:#x} is not within the file, which has {:#x} bytes", what, host, file_size_));
            return false;
        }
        report_.image_end = std::max(report_.image_end, host + bytes);
        for (u64 cluster = host / cluster_; cluster <= (host + bytes - 1) / cluster_; ++cluster) {
            too_many_ |= !counts_.add(cluster, times);
        }
        return true;
    }

    // The same for what lies in whole clusters and may lie in no other's.
    bool refer_alone(u64 host, u64 bytes, std::string_view what) {
        if (bytes == 0) return true;
        if (host % cluster_ != 0) {
            report_.corruption(fmt::format("{} at {:#x} does not begin with a cluster", what, host));
            return false;
        }
        if (!refer(host, bytes, 1, what)) return false;
        for (u64 at = host; at < host + bytes; at += cluster_) {
            if (counts_.of(at / cluster_) == 1) continue;
            report_.corruption(fmt::format("{} at {:#x} lies where there is something else", what, at));
            return false;
        }
        tables_.add_unsorted(host, round_up(bytes, cluster_));
        return true;
    }

    // Of the disk's own data. It may be there several times (then its refcount says so), but not in a table's place.
    void refer_data(u64 host, u64 bytes, u64 times, std::string_view what) {
        if (tables_.overlaps(host, bytes)) {
            report_.corruption(fmt::format("{} at {:#x} lies where one of the image's tables is", what, host));
        } else {
            refer(host, bytes, times, what);
        }
    }

    Expected<void> count_all() {
        refer_alone(0, cluster_, "the header");
        refer_alone(header_.refcount_table_offset, header_.refcount_table_clusters * cluster_, "the refcount table");
        const auto table =
            read_table(file_, header_.refcount_table_offset, header_.refcount_table_clusters * cluster_ / 8);
        if (!table) return tl::unexpected(table.error());
        for (const u64 entry : *table) {
            if (entry != 0) refer_alone(entry & ~u64{0x1ff}, cluster_, "a refcount block");
        }
        refer_alone(header_.snapshots_offset, header_.snapshots_end - header_.snapshots_offset, "the snapshot table");
        refer_alone(header_.l1_offset, header_.l1_entries * 8, "the L1 table");
        for (const Qcow2Snapshot& snapshot : header_.snapshots) {
            refer_alone(snapshot.l1_offset, snapshot.l1_entries * 8, "a snapshot's L1 table");
        }
        if (auto done = count_l1(header_.l1_offset, header_.l1_entries, true); !done) return done;
        for (const Qcow2Snapshot& snapshot : header_.snapshots) {
            if (auto done = count_l1(snapshot.l1_offset, snapshot.l1_entries, false); !done) return done;
        }
        tables_.sort();
        for (const auto& [host, uses] : l2_tables_) {
            if (auto done = count_l2(host, uses); !done) return done;
        }
        return count_bitmaps();
    }

    struct Uses {
        u64 all = 0;
        bool active = false;  // by the disk as it is now, not only by snapshots
    };

    Expected<void> count_l1(u64 offset, u64 entries, bool active) {
        const auto l1 = read_table(file_, offset, entries);
        if (!l1) return tl::unexpected(l1.error());
        for (const u64 entry : *l1) {
            const u64 host = entry & kQcow2OffsetMask;
            if (host == 0) continue;
            if (host % cluster_ != 0) {
                report_.corruption(fmt::format("an L2 table at {:#x} does not begin with a cluster", host));
                continue;
            }
            const auto known = l2_tables_.find(host);
            if (known == l2_tables_.end()) {
                if (refer_alone(host, cluster_, "an L2 table")) l2_tables_[host] = {1, active};
            } else if (active) {
                report_.corruption(fmt::format("the L2 table at {:#x} is there for two parts of the disk", host));
            } else if (refer(host, cluster_, 1, "an L2 table")) {  // of another snapshot too, or of the present disk
                ++known->second.all;
            }
        }
        return {};
    }

    // What all the L1 tables that have this L2 table refer to by it.
    Expected<void> count_l2(u64 offset, const Uses& uses) {
        const auto l2 = read_table(file_, offset, cluster_ / 8);
        if (!l2) return tl::unexpected(l2.error());
        const unsigned offset_bits = 62 - (header_.cluster_bits - 8);
        for (const u64 entry : *l2) {
            if ((entry & kQcow2Compressed) != 0) {
                const u64 host = entry & ((u64{1} << offset_bits) - 1);
                const u64 sectors = ((entry & (kQcow2Compressed - 1)) >> offset_bits) + 1;
                report_.allocated_clusters += uses.active;
                report_.compressed_clusters += uses.active;
                refer_data(host, sectors * kSectorSize - host % kSectorSize, uses.all, "a compressed cluster");
                if ((entry & kQcow2Copied) != 0) {
                    report_.corruption(
                        fmt::format("the compressed cluster at {:#x} is marked as one that may be written "
                                    "to in place",
                                    host));
                }
                continue;
            }
            const u64 host = entry & kQcow2OffsetMask;
            if (host == 0) continue;
            report_.allocated_clusters += uses.active;
            if (host % cluster_ != 0) {
                report_.corruption(fmt::format("a cluster at {:#x} does not begin with one of the file", host));
            } else {
                refer_data(host, cluster_, uses.all, "a cluster");
            }
        }
        return {};
    }

    // QEMU's dirty bitmaps: a directory of bitmaps, each with a table of clusters.
    Expected<void> count_bitmaps() {
        if (header_.bitmaps == 0 || (header_.autoclear & Qcow2Header::kConsistentBitmaps) == 0) return {};
        constexpr u64 kEntryBytes = 24;
        const u64 offset = header_.bitmap_directory_offset, bytes = header_.bitmap_directory_bytes;
        if (!lies_within(offset, bytes, file_size_) || !refer_alone(offset, bytes, "the bitmap directory")) return {};
        u64 at = 0;
        for (u64 i = 0; i < header_.bitmaps && at + kEntryBytes <= bytes; ++i) {
            std::array<u8, kEntryBytes> entry{};
            if (auto read = file_.read(offset + at, entry); !read) return read;
            const u64 table_offset = load_be64(&entry[0]);
            const u64 table_bytes = u64{load_be32(&entry[8])} * 8;
            at += round_up(kEntryBytes + load_be16(&entry[18]) + load_be32(&entry[20]), 8);
            if (!lies_within(table_offset, table_bytes, file_size_) ||
                !refer_alone(table_offset, table_bytes, "a bitmap's table")) {
                continue;
            }
            const auto table = read_table(file_, table_offset, table_bytes / 8);
            if (!table) return tl::unexpected(table.error());
            for (const u64 part : *table) {
                const u64 host = part & kQcow2OffsetMask;
                if (host != 0) refer_alone(host, cluster_, "a part of a bitmap");
            }
        }
        return {};
    }

    // --- comparing ---

    // Calls function(cluster, refcount) for all whose refcount is larger than the uses that were counted.
    template <class Function>
    Expected<void> each_leak(Function function) {
        const u64 per_block = cluster_ * 8 >> header_.refcount_order;
        std::set<u64> seen;
        for (u64 i = 0; i < refcounts_.table().size(); ++i) {
            const u64 block = refcounts_.table()[i];
            if (block == 0 || !seen.insert(block).second) continue;  // its second place is an error already
            const auto counts = read_table(file_, block, cluster_ / 8);
            if (!counts) return tl::unexpected(counts.error());
            if (std::all_of(counts->begin(), counts->end(), [](u64 word) { return word == 0; })) continue;
            for (u64 cluster = i * per_block; cluster < (i + 1) * per_block; ++cluster) {
                const auto stored = refcounts_.get(cluster);
                if (!stored) return tl::unexpected(stored.error());
                if (*stored <= counts_.of(cluster)) continue;
                if (auto done = function(cluster, *stored); !done) return done;
            }
        }
        return {};
    }

    Expected<void> compare() {
        const u64 file_clusters = divide_up(file_size_, cluster_);
        auto done = each_leak([&](u64 cluster, u64 stored) -> Expected<void> {
            report_.leak(fmt::format("cluster {} is referred to {} times, but its refcount is {}{}", cluster,
                                     counts_.of(cluster), stored,
                                     cluster < file_clusters ? "" : " (behind the file's end)"));
            return {};
        });
        if (!done) return done;
        Expected<void> result;
        counts_.each([&](u64 cluster, u64 counted) {
            if (!result) return;
            const auto stored = refcounts_.get(cluster);
            if (!stored) {
                result = tl::unexpected(stored.error());
            } else if (*stored < counted) {
                report_.corruption(fmt::format("cluster {} is referred to {} times, but its refcount is {}", cluster,
                                               counted, *stored));
                undercounted_.push_back(cluster);
            }
        });
        return result;
    }

    // "Copied" must be set where, and only where, the refcount is 1; in tables of the disk as it is now. To correct
    // them, the counts must be right.
    Expected<void> compare_copied_flags(bool correct) {
        if (auto done = copied_flags_of(header_.l1_offset, header_.l1_entries, correct); !done) return done;
        for (const auto& [host, uses] : l2_tables_) {
            if (!uses.active) continue;
            if (auto done = copied_flags_of(host, cluster_ / 8, correct); !done) return done;
        }
        return {};
    }

    Expected<void> copied_flags_of(u64 offset, u64 entries, bool correct) {
        const auto table = read_table(file_, offset, entries);
        if (!table) return tl::unexpected(table.error());
        for (u64 i = 0; i < table->size(); ++i) {
            const u64 entry = (*table)[i];
            const u64 host = entry & kQcow2OffsetMask;
            const bool compressed = offset != header_.l1_offset && (entry & kQcow2Compressed) != 0;
            bool right = false;
            if (!compressed) {
                if (host == 0 || host % cluster_ != 0) continue;
                const auto count = refcounts_.get(host / cluster_);
                if (!count) return tl::unexpected(count.error());
                right = *count == 1;
            } else if (!correct) {
                continue;  // said already
            }
            if (right == ((entry & kQcow2Copied) != 0)) continue;
            if (!correct) {
                report_.corruption(
                    fmt::format("the entry {:#018x} at {:#x} is {}marked as the only one for its cluster", entry,
                                offset + i * 8, right ? "not " : ""));
                ++wrong_flags_;
                continue;
            }
            std::array<u8, 8> bytes{};
            store_be64(bytes.data(), entry ^ kQcow2Copied);
            if (auto written = file_.write(offset + i * 8, bytes); !written) return written;
        }
        return {};
    }

    // --- mending ---

    // The refcounts, and the flags that depend on them. Other faults stay.
    Expected<void> mend(Repair repair) {
        // If the structure that is to be corrected overlaps others, writing to it would make things worse.
        const u64 mendable = undercounted_.size() + wrong_flags_;
        const bool flags_only = repair == Repair::All && report_.corruptions == mendable;
        if (report_.corruptions != 0 && !flags_only) return {};
        // After this, what is changed is in the cache only, and each_leak() asks that.
        auto lowered = each_leak([&](u64 cluster, u64) { return refcounts_.set(cluster, counts_.of(cluster)); });
        if (!lowered) return lowered;
        metadata_.add(0, round_up(file_size_, cluster_));  // new blocks go behind everything
        for (const u64 cluster : undercounted_) {
            if (auto done = raise(cluster); !done) return done;
        }
        if (auto written = refcounts_.write(); !written) return written;
        if (auto synced = file_.sync(); !synced) return synced;
        if (repair == Repair::All) {
            if (auto done = compare_copied_flags(true); !done) return done;
            if (auto synced = file_.sync(); !synced) return synced;
            if ((header_.incompatible & (Qcow2Header::kDirty | Qcow2Header::kCorrupt)) != 0) {
                Qcow2Header clean = header_;
                clean.incompatible &= ~(Qcow2Header::kDirty | Qcow2Header::kCorrupt);
                if (auto written = write_qcow2_features(file_, clean); !written) return written;
            }
        }
        report_.corruptions_repaired = report_.corruptions;
        report_.leaks_repaired = report_.leaks;
        return {};
    }

    Expected<void> raise(u64 cluster) {
        const u64 per_block = cluster_ * 8 >> header_.refcount_order;
        const u64 index = cluster / per_block;
        if (index >= refcounts_.table().size() || refcounts_.table()[index] == 0) {
            if (auto made = refcounts_.make_block_for(cluster, file_size_); !made) return made;
        }
        return refcounts_.set(cluster, counts_.of(cluster));
    }

    File& file_;
    const Qcow2Header& header_;
    u64 file_size_, cluster_;
    RangeSet metadata_;
    Qcow2Refcounts refcounts_;
    ReferenceCounts counts_;
    RangeSet tables_;
    std::map<u64, Uses> l2_tables_;
    std::vector<u64> undercounted_;
    u64 wrong_flags_ = 0;
    bool too_many_ = false;
    CheckReport report_;
};

}  // namespace

Expected<CheckReport> check_qcow2(File& file, Repair repair) {
    const auto header = read_qcow2_header(file);
    if (!header) return tl::unexpected(header.error());
    const auto file_size = file.size();
    if (!file_size) return tl::unexpected(file_size.error());
    return Checker(file, *header, *file_size).run(repair);
}

}  // namespace dualvm::storage
