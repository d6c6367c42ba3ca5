// A disk in memory whose sectors all differ, which can be made to fail.
#pragma once

#include <algorithm>
#include <vector>

#include "dualvm/disk.h"

namespace dualvm::devices {

class MemoryDisk final : public Disk {
public:
    explicit MemoryDisk(u64 sectors) : bytes(sectors * kSectorSize) {
        for (u64 i = 0; i < bytes.size(); ++i) bytes[i] = pattern(i);
    }
    static u8 pattern(u64 at) { return static_cast<u8>(at * 7 + at / kSectorSize * 13); }

    u64 size_in_sectors() const override { return bytes.size() / kSectorSize; }
    bool read_only() const override { return is_read_only; }
    Expected<void> read(u64 offset, std::span<u8> to) override {
        if (failing || !inside(offset, to.size())) return fail(ExitStatus::BadImage, "cannot read");
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
        return {};
    }
    Expected<void> write(u64 offset, std::span<const u8> from) override {
        if (failing || is_read_only || !inside(offset, from.size())) return fail(ExitStatus::BadImage, "cannot write");
        std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        return {};
    }
    Expected<void> flush() override {
        ++flushes;
        if (failing) return fail(ExitStatus::BadImage, "cannot flush");
        return {};
    }

    std::vector<u8> bytes;
    bool is_read_only = false, failing = false;
    int flushes = 0;

private:
    bool inside(u64 offset, u64 size) const {
        return (offset | size) % kSectorSize == 0 && offset <= bytes.size() && size <= bytes.size() - offset;
    }
};

}  // namespace dualvm::devices
