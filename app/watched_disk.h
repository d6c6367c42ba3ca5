// A disk whose troubles are told to the user too. The guest gets an I/O error; why only the host knows: a full disk, a
// file that cannot be read.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dualvm/disk.h"

namespace dualvm::app {

class WatchedDisk final : public Disk {
public:
    using Tell = std::function<void(const std::string& text)>;

    WatchedDisk(std::unique_ptr<Disk> disk, Tell tell) : disk_(std::move(disk)), tell_(std::move(tell)) {}

    u64 size_in_sectors() const override { return disk_->size_in_sectors(); }
    bool read_only() const override { return disk_->read_only(); }
    Expected<void> read(u64 offset, std::span<u8> to) override { return watched(disk_->read(offset, to), told_read_); }
    Expected<void> write(u64 offset, std::span<const u8> from) override {
        return watched(disk_->write(offset, from), told_write_);
    }
    Expected<void> flush() override { return watched(disk_->flush(), told_flush_); }
    // A flush at the end of the run, of which the guest does not learn.
    Expected<void> finish() { return disk_->flush(); }

private:
    // A guest that goes on trying must not fill the terminal: the first of each kind is told.
    Expected<void> watched(Expected<void> done, bool& told);

    std::unique_ptr<Disk> disk_;
    Tell tell_;
    bool told_read_ = false, told_write_ = false, told_flush_ = false;
};

}  // namespace dualvm::app
