#include "dualvm/devices/ata_disk.h"

#include <algorithm>

namespace dualvm::devices {

namespace {

enum : u8 {
    kReadSectors = 0x20,
    kReadSectorsNoRetry = 0x21,
    kReadSectorsExt = 0x24,
    kReadDmaExt = 0x25,
    kReadNativeMaxExt = 0x27,
    kReadMultipleExt = 0x29,
    kWriteSectors = 0x30,
    kWriteSectorsNoRetry = 0x31,
    kWriteSectorsExt = 0x34,
    kWriteDmaExt = 0x35,
    kWriteMultipleExt = 0x39,
    kVerify = 0x40,
    kVerifyNoRetry = 0x41,
    kVerifyExt = 0x42,
    kDiagnostic = 0x90,
    kInitializeParameters = 0x91,
    kReadMultiple = 0xc4,
    kWriteMultiple = 0xc5,
    kSetMultiple = 0xc6,
    kReadDma = 0xc8,
    kReadDmaNoRetry = 0xc9,
    kWriteDma = 0xca,
    kWriteDmaNoRetry = 0xcb,
    kStandbyImmediate = 0xe0,
    kIdleImmediate = 0xe1,
    kStandby = 0xe2,
    kIdle = 0xe3,
    kCheckPower = 0xe5,
    kSleep = 0xe6,
    kFlush = 0xe7,
    kFlushExt = 0xea,
    kIdentify = 0xec,
    kSetFeatures = 0xef,
    kReadNativeMax = 0xf8
};
constexpr u64 kSectors28 = 0x0fffffff;  // as many as 28 bits can name
bool recalibrates(u8 command) { return (command & 0xf0) == 0x10; }
bool seeks(u8 command) { return (command & 0xf0) == 0x70; }

}  // namespace

AtaDisk::AtaDisk(Disk& disk, unsigned number) : disk_(disk), number_(number) { AtaDisk::reset_drive(true); }

void AtaDisk::reset_drive(bool power_on) {
    set_signature(0, 0);
    status_ = ata::kReady | ata::kSeekComplete;
    run_ = {};
    if (!power_on) return;
    multiple_ = kMostSectorsInBlock;
    transfer_mode_ = 0;
    write_cache_ = true;
    geometry_ = default_geometry();
}

// As large as 16 heads of 63 sectors make it, which is the most that IDENTIFY DEVICE can say.
AtaDisk::Geometry AtaDisk::default_geometry() const {
    constexpr u64 kMostCylinders = 16383, kSectorsOfCylinder = 16 * 63;
    return {.cylinders =
                static_cast<u16>(std::clamp<u64>(disk_.size_in_sectors() / kSectorsOfCylinder, 1, kMostCylinders))};
}

void AtaDisk::execute(u8 command) {
    stop_transfer();
    clear_interrupt();
    if (recalibrates(command) || seeks(command)) return succeed();
    switch (command) {
        case kReadSectors:
        case kReadSectorsNoRetry: return move(Transfer::PioIn, false, 1);
        case kReadSectorsExt: return move(Transfer::PioIn, true, 1);
        case kReadMultiple: return move(Transfer::PioIn, false, multiple_);
        case kReadMultipleExt: return move(Transfer::PioIn, true, multiple_);
        case kReadDma:
        case kReadDmaNoRetry: return move(Transfer::DmaIn, false, kSectorsAtOnce);
        case kReadDmaExt: return move(Transfer::DmaIn, true, kSectorsAtOnce);
        case kWriteSectors:
        case kWriteSectorsNoRetry: return move(Transfer::PioOut, false, 1);
        case kWriteSectorsExt: return move(Transfer::PioOut, true, 1);
        case kWriteMultiple: return move(Transfer::PioOut, false, multiple_);
        case kWriteMultipleExt: return move(Transfer::PioOut, true, multiple_);
        case kWriteDma:
        case kWriteDmaNoRetry: return move(Transfer::DmaOut, false, kSectorsAtOnce);
        case kWriteDmaExt: return move(Transfer::DmaOut, true, kSectorsAtOnce);
        case kVerify:
        case kVerifyNoRetry: return verify(false);
        case kVerifyExt: return verify(true);
        case kReadNativeMax: return read_native_max(false);
        case kReadNativeMaxExt: return read_native_max(true);
        case kFlush:
        case kFlushExt: return flush();
        case kIdentify: return identify();
        case kSetFeatures: return set_features();
        case kSetMultiple: return set_multiple();
        case kInitializeParameters: return initialize_parameters();
        case kCheckPower: count_.set(0xff); return succeed();  // active
        case kStandbyImmediate:
        case kIdleImmediate:
        case kStandby:
        case kIdle:
        case kSleep: return succeed();
        case kDiagnostic: reset_drive(false); return request_interrupt();
        default: return fail(ata::kAborted);
    }
}

bool AtaDisk::addressed(bool extended, Run& run) {
    const u64 size = disk_.size_in_sectors();
    const u64 low = low_.now | mid_.now << 8 | high_.now << 16;
    extended_ = extended;
    run.left = extended ? count_.both() : count_.now;
    if (run.left == 0) run.left = extended ? 0x10000 : 0x100;
    if ((device_ & ata::kLba) == 0) {
        const u64 cylinder = mid_.now | high_.now << 8, head = device_ & 0xf;
        if (extended || low_.now == 0 || low_.now > geometry_.sectors || head >= geometry_.heads) {
            fail(ata::kIdNotFound);
            return false;
        }
        run.sector = (cylinder * geometry_.heads + head) * geometry_.sectors + low_.now - 1;
    } else if (extended) {
        run.sector = low | u64{low_.before} << 24 | u64{mid_.before} << 32 | u64{high_.before} << 40;
    } else {
        run.sector = low | u64{device_ & 0xfu} << 24;
    }
    if (run.sector >= size || run.left > size - run.sector) {
        fail(ata::kIdNotFound);
        return false;
    }
    return true;
}

// "The address of the first sector in error" (error outputs of each command), as the command's own form has it.
void AtaDisk::show_address(u64 sector) {
    u64 value = sector;
    if ((device_ & ata::kLba) == 0) {
        const u64 track = sector / geometry_.sectors, cylinder = track / geometry_.heads;
        value = (sector % geometry_.sectors + 1) | cylinder << 8 | (track % geometry_.heads) << 24;
    }
    low_.now = static_cast<u8>(value);
    mid_.now = static_cast<u8>(value >> 8);
    high_.now = static_cast<u8>(value >> 16);
    if (extended_) {
        low_.before = static_cast<u8>(value >> 24);
        mid_.before = static_cast<u8>(value >> 32);
        high_.before = static_cast<u8>(value >> 40);
    } else {
        device_ = static_cast<u8>((device_ & 0xf0) | (value >> 24 & 0xf));
    }
}

// Begins a command that moves sectors, `block` of them for each data request.
void AtaDisk::move(Transfer kind, bool extended, unsigned block) {
    if (block == 0) return fail(ata::kAborted);  // MULTIPLE without SET MULTIPLE MODE
    if (!addressed(extended, run_)) return;
    block_ = block;
    const bool out = kind == Transfer::PioOut || kind == Transfer::DmaOut;
    if (out && disk_.read_only()) return fail(ata::kAborted | ata::kWriteProtected);
    buffer_.resize(block_size() * kSectorSize);
    if (!out && !read_block()) return;
    start(kind, buffer_.size());
    if (kind == Transfer::PioIn) request_interrupt();
}

unsigned AtaDisk::block_size() const { return static_cast<unsigned>(std::min<u64>(block_, run_.left)); }

// The next block of the run from the disk into the buffer.
bool AtaDisk::read_block() {
    buffer_.resize(block_size() * kSectorSize);
    if (disk_.read(run_.sector * kSectorSize, buffer_)) return true;
    show_address(run_.sector);
    fail(ata::kUncorrectable);
    return false;
}

bool AtaDisk::write_block() {
    if (disk_.write(run_.sector * kSectorSize, buffer_)) return true;
    show_address(run_.sector);
    fail(ata::kAborted);
    return false;
}

void AtaDisk::window_done() {
    const Transfer kind = transfer();
    const bool out = kind == Transfer::PioOut || kind == Transfer::DmaOut;
    if (run_.left == 0) {  // IDENTIFY DEVICE
        stop_transfer();
        status_ = ata::kReady | ata::kSeekComplete;
        return;
    }
    if (out && !write_block()) return;
    const u64 done = block_size();
    run_.sector += done;
    run_.left -= done;
    if (run_.left == 0) {
        if (out && !write_cache_ && !disk_.flush()) return fail(ata::kAborted);
        const bool asked = interrupt();
        succeed();
        // The guest has had its interrupt when the last block of a read became ready (9.7, "PIO data-in").
        if (kind == Transfer::PioIn && !asked) clear_interrupt();
        return;
    }
    buffer_.resize(block_size() * kSectorSize);
    if (!out && !read_block()) return;
    start(kind, buffer_.size());
    if (!wants_dma()) request_interrupt();
}

void AtaDisk::verify(bool extended) {
    if (!addressed(extended, run_)) return;
    block_ = kSectorsAtOnce;
    while (run_.left != 0) {
        if (!read_block()) return;
        const u64 done = block_size();
        run_.sector += done;
        run_.left -= done;
    }
    succeed();
}

void AtaDisk::flush() { return disk_.flush() ? succeed() : fail(ata::kAborted); }

void AtaDisk::read_native_max(bool extended) {
    if ((device_ & ata::kLba) == 0) return fail(ata::kAborted);
    u64 last = std::max<u64>(disk_.size_in_sectors(), 1) - 1;
    if (!extended) last = std::min(last, kSectors28 - 1);
    extended_ = extended;
    show_address(last);
    succeed();
}

void AtaDisk::set_features() {
    enum : u8 {
        kCacheOn = 0x02,
        kCacheOff = 0x82,
        kTransferMode = 0x03,
        kLookAheadOn = 0xaa,
        kLookAheadOff = 0x55,
        kKeepOnReset = 0x66,
        kRevertOnReset = 0xcc
    };
    switch (features_.now) {
        case kCacheOn: write_cache_ = true; return succeed();
        case kCacheOff: write_cache_ = false; return flush();
        case kTransferMode: {
            const u8 kind = count_.now >> 3, mode = count_.now & 7;
            const bool pio = kind == 0 || (kind == 1 && mode <= 4), dma = kind == 4 && mode <= 2,
                       ultra = kind == 8 && mode <= 5;
            if (!pio && !dma && !ultra) return fail(ata::kAborted);
            if (!pio) transfer_mode_ = count_.now;
            return succeed();
        }
        case kLookAheadOn:
        case kLookAheadOff:
        case kKeepOnReset:
        case kRevertOnReset: return succeed();
        default: return fail(ata::kAborted);
    }
}

void AtaDisk::set_multiple() {
    const u8 sectors = count_.now;
    if (sectors > kMostSectorsInBlock || (sectors & (sectors - 1)) != 0) return fail(ata::kAborted);
    multiple_ = sectors;
    succeed();
}

// The geometry that commands with cylinders use from now on (ATA/ATAPI-5, "INITIALIZE DEVICE PARAMETERS").
void AtaDisk::initialize_parameters() {
    if (count_.now == 0) return fail(ata::kAborted);
    geometry_.sectors = count_.now;
    geometry_.heads = static_cast<u8>((device_ & 0xf) + 1);
    const u64 of_cylinder = u64{geometry_.sectors} * geometry_.heads;
    geometry_.cylinders = static_cast<u16>(std::min<u64>(disk_.size_in_sectors() / of_cylinder, 65535));
    succeed();
}

void AtaDisk::save(ArchiveWriter& out) const {
    IdeDrive::save(out);
    out.put(geometry_.cylinders);
    out.put(run_.sector);
    out.put(run_.left);
    out.put(static_cast<u16>(block_));
    for (u8 v : {geometry_.heads, geometry_.sectors, multiple_, transfer_mode_}) out.put(v);
    out.put(static_cast<u8>(write_cache_));
    out.put(static_cast<u8>(extended_));
}

void AtaDisk::load(ArchiveReader& in) {
    IdeDrive::load(in);
    in.get(geometry_.cylinders);
    in.get(run_.sector);
    in.get(run_.left);
    block_ = in.get<u16>();
    for (u8* v : {&geometry_.heads, &geometry_.sectors, &multiple_, &transfer_mode_}) in.get(*v);
    write_cache_ = in.get<u8>() != 0;
    extended_ = in.get<u8>() != 0;
    const u64 size = disk_.size_in_sectors();
    const bool fits = run_.sector <= size && run_.left <= size - run_.sector;
    const bool moving = transfer() != Transfer::None && run_.left != 0;
    const bool out_bound = transfer() == Transfer::PioOut || transfer() == Transfer::DmaOut;
    if (!fits || block_ == 0 || block_ > kSectorsAtOnce || multiple_ > kMostSectorsInBlock || geometry_.sectors == 0 ||
        geometry_.heads == 0 || geometry_.heads > 16 || (moving && buffer_.size() != block_size() * kSectorSize) ||
        (out_bound && (run_.left == 0 || disk_.read_only()))) {
        in.set_bad();
    }
    if (!in.ok()) reset_drive(true);
}

}  // namespace dualvm::devices
