#include "dualvm/devices/bus_master.h"

#include <algorithm>

namespace dualvm::devices {

namespace {

enum : unsigned { kCommand = 0, kStatus = 2, kTable = 4 };
enum : u8 { kStart = 1, kToMemory = 8 };                                 // command
enum : u8 { kActive = 1, kError = 2, kInterrupt = 4, kCapable = 0x60 };  // status
constexpr u32 kLargestTable = 0x10000, kLargestRegion = 0x10000;
constexpr u32 kEndOfTable = 0x80000000;

// One entry of the table (1.2): where, how many bytes, and whether it is the last.
struct Entry {
    u32 address = 0, count_and_flags = 0;
};

}  // namespace

u8 BusMaster::read(unsigned reg) const {
    switch (reg) {
        case kCommand: return command_;
        case kStatus: return status_;
        case 1:
        case 3: return 0;
        default: return static_cast<u8>(table_ >> (8 * (reg - kTable)));
    }
}

void BusMaster::write(unsigned reg, u8 value) {
    switch (reg) {
        case kCommand:
            if ((value & kStart) != 0 && (command_ & kStart) == 0) {
                status_ |= kActive;
                next_entry_ = table_;
                left_ = 0;
                last_ = false;
            }
            // "All state is lost when the bit is cleared: a stopped transfer cannot be resumed."
            if ((value & kStart) == 0) status_ &= static_cast<u8>(~kActive);
            command_ = value & (kStart | kToMemory);
            break;
        case kStatus: {
            const u8 cleared = value & (kError | kInterrupt);
            status_ = static_cast<u8>((status_ & ~kCapable & ~cleared) | (value & kCapable));
            break;
        }
        case 1:
        case 3: break;
        default: {
            const unsigned shift = 8 * (reg - kTable);
            table_ = ((table_ & ~(0xffu << shift)) | u32{value} << shift) & ~3u;
            break;
        }
    }
}

void BusMaster::drive_interrupted() { status_ |= kInterrupt; }

// False if the next entry of the table cannot be read.
bool BusMaster::next_region() {
    Entry entry;
    // A table must not cross a boundary of 64 KiB, and has an end before it.
    const bool inside = next_entry_ / kLargestTable == table_ / kLargestTable && next_entry_ >= table_;
    if (!inside || !memory_.read_value(next_entry_, entry)) return false;
    next_entry_ += sizeof entry;
    address_ = entry.address & ~1u;
    left_ = entry.count_and_flags & 0xfffe;
    if (left_ == 0) left_ = kLargestRegion;
    last_ = (entry.count_and_flags & kEndOfTable) != 0;
    return true;
}

// Memory checks that it is there, and tells the engines of writes.
bool BusMaster::move(IdeDrive& drive, std::size_t bytes) {
    u8* const data = drive.window().data();
    const bool done = drive.transfer() == IdeDrive::Transfer::DmaIn ? memory_.write(address_, data, bytes)
                                                                    : memory_.read(address_, data, bytes);
    if (!done) return false;
    address_ += static_cast<u32>(bytes);
    left_ -= static_cast<u32>(bytes);
    return true;
}

void BusMaster::run(IdeDrive* drive) {
    if (drive == nullptr) return;
    while ((status_ & kActive) != 0 && drive->wants_dma()) {
        const bool to_memory = drive->transfer() == IdeDrive::Transfer::DmaIn;
        bool possible = to_memory == ((command_ & kToMemory) != 0);
        if (possible && left_ == 0) {
            if (last_) {  // the table is smaller than what the drive has: neither active nor interrupt says so (3.1)
                status_ &= static_cast<u8>(~kActive);
                return;
            }
            possible = next_region();
        }
        const std::size_t bytes = std::min<std::size_t>(drive->window().size(), left_);
        if (!possible || !move(*drive, bytes)) {
            // Memory did not answer, or drive and controller go different ways: the drive's command fails.
            status_ = static_cast<u8>((status_ & ~kActive) | kError);
            drive->dma_failed();
            return;
        }
        drive->moved(bytes);
        // What the drive wanted is through with the end of the table, or before it: then the controller stays active.
        if (!drive->wants_dma() && left_ == 0 && last_) status_ &= static_cast<u8>(~kActive);
    }
}

void BusMaster::reset() {
    command_ = status_ = 0;
    table_ = next_entry_ = address_ = left_ = 0;
    last_ = false;
}

void BusMaster::save(ArchiveWriter& out) const {
    out.put(command_);
    out.put(status_);
    for (u32 v : {table_, next_entry_, address_, left_}) out.put(v);
    out.put(static_cast<u8>(last_));
}

void BusMaster::load(ArchiveReader& in) {
    in.get(command_);
    in.get(status_);
    for (u32* v : {&table_, &next_entry_, &address_, &left_}) in.get(*v);
    last_ = in.get<u8>() != 0;
    if (left_ > kLargestRegion) in.set_bad();
}

}  // namespace dualvm::devices
