// Tables of one size in an image file (L2 tables, refcount blocks): those used last are in memory, and changes wait
// there until the file may have them.
#pragma once

#include <list>
#include <unordered_map>
#include <vector>

#include "dualvm/storage/file.h"

namespace dualvm::storage {

class TableCache {
public:
    struct Table {
        u64 offset;  // in the file
        std::vector<u8> bytes;
        bool dirty = false;
        bool fresh = false;  // nothing in the file points to it yet, so it may be written at any time
    };

    TableCache(File& file, std::size_t table_bytes, std::size_t capacity)
        : file_(file), table_bytes_(table_bytes), capacity_(capacity) {}

    // Valid until the next get() or create().
    Expected<Table*> get(u64 offset);
    // A table that the file does not have yet, all zeros; dirty and fresh.
    Table& create(u64 offset);
    void mark_dirty(Table& table);
    // Time to write: what is dirty cannot make way for others.
    bool crowded() const { return dirty_count_ * 2 >= capacity_; }
    bool has_dirty() const { return dirty_count_ != 0; }
    bool has_fresh() const { return fresh_count_ != 0; }

    Expected<void> write_fresh() { return write_all(true); }
    Expected<void> write_others() { return write_all(false); }
    // The file points to them now.
    void no_longer_fresh();

private:
    Expected<void> write_all(bool fresh);
    void make_room();

    File& file_;
    std::size_t table_bytes_, capacity_;
    std::list<Table> tables_;  // used last comes first
    std::unordered_map<u64, std::list<Table>::iterator> by_offset_;
    std::size_t dirty_count_ = 0, fresh_count_ = 0;
};

}  // namespace dualvm::storage
