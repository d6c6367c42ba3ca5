#include "assist/table_watch.h"

#include <cstring>
#include <utility>

namespace dualvm::kvm {

namespace {

// A page table entry's bits (SDM vol. 3A, 4.5.5).
constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 0x20, kDirty = 0x40, kLarge = 0x80,
              kNoExecute = u64{1} << 63, kAddress = 0x000ffffffffff000;
// Tables that can be reached through each other (or themselves) end the walk.
constexpr unsigned kMostVisits = 4096;
// So many pages are listed as written to; beyond that, it is all memory.
constexpr std::size_t kMostRanges = 8192;
// So many tables are remembered; then all are forgotten.
constexpr std::size_t kMostTables = 8192;

bool is_leaf(u64 entry, unsigned level) { return level == 1 || (level <= 3 && (entry & kLarge) != 0); }

u64 page_bytes(unsigned level) { return u64{1} << (12 + 9 * (level - 1)); }

}  // namespace

bool still_holds(u64 before, u64 now, bool leaf) {
    if (before == now || (before & kPresent) == 0) return true;
    // Bits that only grow: more is allowed, or has been used.
    const u64 grows = kWritable | kUser | kAccessed | (leaf ? kDirty : 0);
    const u64 ignored = 0x7ff0000000000e00 | (leaf ? 0 : kDirty);  // bits 9-11 and 52-62 are the software's
    if ((before & grows & ~now) != 0) return false;
    if ((now & ~before & kNoExecute) != 0) return false;
    return ((before ^ now) & ~(grows | ignored | kNoExecute)) == 0;
}

void TableWatch::adopt(Table& table, const u64* entries) {
    std::memcpy(table.entries.data(), entries, kPageSize);
    table.children.clear();
    table.dirty.clear();
    table.forbidden = false;
    constexpr u64 kOurs = kPresent | kUser;
    for (const u64 entry : table.entries) {
        if ((entry & kOurs) != kOurs) continue;
        if (!is_leaf(entry, table.level)) {
            table.children.push_back(entry);
            continue;
        }
        const u64 bytes = page_bytes(table.level), page = entry & kAddress & ~(bytes - 1);
        if (page < forbidden_ + forbidden_size_ && forbidden_ < page + bytes) table.forbidden = true;
        if ((entry & (kWritable | kDirty)) != (kWritable | kDirty)) continue;
        table.dirty.push_back({page, bytes});
    }
}

// False: no further.
bool TableWatch::visit(u64 address, unsigned level, bool writable, Pass pass) {
    const u8* host = vmem_.host_page(address);
    if (host == nullptr || ++visits_ > kMostVisits) {
        impossible_ = true;
        return false;
    }
    const auto* entries = reinterpret_cast<const u64*>(host);
    std::unique_ptr<Table>& slot = tables_[address];
    if (slot != nullptr && slot->in_visit) {
        impossible_ = true;
        return false;
    }
    if (slot == nullptr) {
        slot = std::make_unique<Table>();
        slot->level = level;
        adopt(*slot, entries);
        changed_ = true;
    } else if (slot->level != level) {
        // Known to KVM as a table of another level.
        if (pass == Pass::Before) stale_ = true;
        changed_ = true;
        slot->level = level;
        adopt(*slot, entries);
    } else if (std::memcmp(slot->entries.data(), entries, kPageSize) != 0) {
        if (pass == Pass::Before && !stale_) {
            for (unsigned i = 0; i < 512 && !stale_; ++i) {
                const u64 before = slot->entries[i];
                stale_ = before != entries[i] && !still_holds(before, entries[i], is_leaf(before, level));
            }
        }
        for (unsigned i = 0; i < 512 && pass == Pass::After && !changed_; ++i) {
            changed_ = entries[i] != (slot->entries[i] | (entries[i] & (kAccessed | kDirty)));
        }
        adopt(*slot, entries);
    }
    Table& table = *slot;
    table.walk = walk_;
    if (table.forbidden) impossible_ = true;
    if (pass == Pass::After && writable && written_.size() <= kMostRanges)
        written_.insert(written_.end(), table.dirty.begin(), table.dirty.end());
    table.in_visit = true;
    bool on = true;
    for (const u64 child : table.children) {
        on = visit(child & kAddress, level - 1, writable && (child & kWritable) != 0, pass);
        if (!on) break;
    }
    table.in_visit = false;
    return on;
}

TableWatch::Verdict TableWatch::before(u64 root) {
    stale_ = std::exchange(distrusted_, false);
    impossible_ = false;
    visits_ = 0;
    ++walk_;
    if (tables_.size() > kMostTables) {
        tables_.clear();
        stale_ = true;
    }
    visit(root & kAddress, 4, true, Pass::Before);
    if (impossible_) {
        tables_.clear();
        return Verdict::Impossible;
    }
    // What is dropped is dropped for all tables: those that were not met now are unknown to KVM again.
    if (stale_) std::erase_if(tables_, [&](const auto& entry) { return entry.second->walk != walk_; });
    return stale_ ? Verdict::Stale : Verdict::Known;
}

bool TableWatch::after(u64 root) {
    written_.clear();
    impossible_ = changed_ = false;
    visits_ = 0;
    ++walk_;
    visit(root & kAddress, 4, true, Pass::After);
    if (changed_ || impossible_) distrusted_ = true;
    if (distrusted_ || written_.size() > kMostRanges) written_ = {kEverything};
    return !distrusted_;
}

std::optional<u64> TableWatch::translate(u64 root, u64 linear) const {
    u64 table = root & kAddress;
    for (unsigned level = 4;; --level) {
        const u8* host = vmem_.host_page(table);
        if (host == nullptr) return std::nullopt;
        u64 entry = 0;
        std::memcpy(&entry, host + 8 * (linear >> (12 + 9 * (level - 1)) & 511), sizeof entry);
        if ((entry & kPresent) == 0 || (entry & kUser) == 0) return std::nullopt;
        if (is_leaf(entry, level)) {
            const u64 offset = page_bytes(level) - 1;
            return (entry & kAddress & ~offset) | (linear & offset);
        }
        table = entry & kAddress;
    }
}

}  // namespace dualvm::kvm
