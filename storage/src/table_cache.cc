#include "table_cache.h"

namespace dualvm::storage {

Expected<TableCache::Table*> TableCache::get(u64 offset) {
    if (!tables_.empty() && tables_.front().offset == offset) return &tables_.front();
    if (const auto found = by_offset_.find(offset); found != by_offset_.end()) {
        tables_.splice(tables_.begin(), tables_, found->second);
        return &tables_.front();
    }
    make_room();
    Table table{.offset = offset, .bytes = std::vector<u8>(table_bytes_)};
    if (auto read = file_.read(offset, table.bytes); !read) return tl::unexpected(read.error());
    tables_.push_front(std::move(table));
    by_offset_[offset] = tables_.begin();
    return &tables_.front();
}

TableCache::Table& TableCache::create(u64 offset) {
    if (const auto old = by_offset_.find(offset); old != by_offset_.end()) {
        // What lay there before was given up, and its place given to another.
        dirty_count_ -= old->second->dirty;
        fresh_count_ -= old->second->fresh;
        tables_.erase(old->second);
        by_offset_.erase(old);
    }
    make_room();
    tables_.push_front({.offset = offset, .bytes = std::vector<u8>(table_bytes_), .dirty = true, .fresh = true});
    by_offset_[offset] = tables_.begin();
    ++dirty_count_;
    ++fresh_count_;
    return tables_.front();
}

void TableCache::mark_dirty(Table& table) {
    dirty_count_ += !table.dirty;
    table.dirty = true;
}

void TableCache::make_room() {
    for (auto at = tables_.end(); tables_.size() >= capacity_ && at != tables_.begin();) {
        --at;
        if (at->dirty || at->fresh) continue;
        by_offset_.erase(at->offset);
        at = tables_.erase(at);
    }
}

Expected<void> TableCache::write_all(bool fresh) {
    if (dirty_count_ == 0) return {};
    for (Table& table : tables_) {
        if (!table.dirty || table.fresh != fresh) continue;
        if (auto written = file_.write(table.offset, table.bytes); !written) return written;
        table.dirty = false;
        --dirty_count_;
    }
    return {};
}

void TableCache::no_longer_fresh() {
    if (fresh_count_ == 0) return;
    for (Table& table : tables_) table.fresh = false;
    fresh_count_ = 0;
}

}  // namespace dualvm::storage
