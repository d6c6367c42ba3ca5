// A file that can break: full after some bytes, or the host goes down after some writes.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "dualvm/storage/file.h"

namespace dualvm::storage {

// What the host's disk has of a file, and what it was told to write since the last fsync. It outlives the file.
struct Platter {
    struct Write {
        u64 offset;
        std::vector<u8> bytes;
        bool resize = false;  // to `offset` bytes
    };
    std::vector<u8> bytes;     // as the host's memory has it
    std::vector<u8> durable;   // as it was at the last fsync
    std::vector<Write> since;  // the changes since then
    u64 writes = 0, syncs = 0;
    u64 writes_left = std::numeric_limits<u64>::max();  // then every write fails
    u64 largest = u64{1} << 30;                         // then the disk is full

    static void apply(std::vector<u8>& to, const Write& write) {
        if (write.resize) {
            to.resize(write.offset);
            return;
        }
        to.resize(std::max<u64>(to.size(), write.offset + write.bytes.size()));
        std::copy(write.bytes.begin(), write.bytes.end(), to.begin() + static_cast<std::ptrdiff_t>(write.offset));
    }
    // What could be found after a crash now: any of the changes since the last fsync may have been done, or not, or a
    // part of its sectors. (Not less than the file's size: file systems write that with the data it covers.)
    std::vector<u8> after_crash(std::mt19937_64& random) const {
        std::vector<u8> found = durable;
        for (const Write& write : since) {
            if (write.resize) {
                apply(found, write);
                continue;
            }
            for (std::size_t at = 0; at < write.bytes.size();) {
                const std::size_t to_sector_end = 512 - (write.offset + at) % 512;
                const std::size_t length = std::min<std::size_t>(to_sector_end, write.bytes.size() - at);
                found.resize(std::max<u64>(found.size(), write.offset + at + length));
                if (random() % 2 == 0) {
                    std::copy_n(write.bytes.begin() + static_cast<std::ptrdiff_t>(at), length,
                                found.begin() + static_cast<std::ptrdiff_t>(write.offset + at));
                }
                at += length;
            }
        }
        return found;
    }
};

class BreakingFile final : public File {
public:
    explicit BreakingFile(std::shared_ptr<Platter> platter) : platter_(std::move(platter)) {}

    const std::string& name() const override { return name_; }
    Expected<u64> size() override { return platter_->bytes.size(); }
    Expected<void> read(u64 offset, std::span<u8> to) override {
        const std::vector<u8>& bytes = platter_->bytes;
        for (std::size_t i = 0; i < to.size(); ++i) to[i] = offset + i < bytes.size() ? bytes[offset + i] : u8{0};
        return {};
    }
    Expected<void> write(u64 offset, std::span<const u8> from) override {
        return change({offset, {from.begin(), from.end()}}, offset + from.size());
    }
    Expected<void> resize(u64 bytes) override { return change({bytes, {}, true}, 0); }
    Expected<void> sync() override {
        if (platter_->writes_left == 0) return fail(ExitStatus::BadImage, "broken");
        ++platter_->syncs;
        platter_->durable = platter_->bytes;
        platter_->since.clear();
        return {};
    }
    Expected<Extent> extent(u64 offset) override { return Extent{platter_->bytes.size() - offset, false}; }

private:
    Expected<void> change(Platter::Write write, u64 end) {
        if (platter_->writes_left == 0) return fail(ExitStatus::BadImage, "broken");
        if (end > platter_->largest) return fail(ExitStatus::BadImage, "no space left");
        --platter_->writes_left;
        ++platter_->writes;
        Platter::apply(platter_->bytes, write);
        platter_->since.push_back(std::move(write));
        return {};
    }
    std::shared_ptr<Platter> platter_;
    std::string name_ = "breaking";
};

}  // namespace dualvm::storage
