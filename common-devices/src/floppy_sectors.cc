// Reading, writing, verifying and formatting sectors (82077AA data sheet, "Data transfer commands").
#include <algorithm>

#include "dualvm/devices/floppy82077.h"
#include "floppy_bits.h"

namespace dualvm::devices {

namespace {

// Bytes of a command: code, head and drive, cylinder, head, sector, size code, last sector, gap, data length.
constexpr std::size_t kCode = 0, kHeadAndDrive = 1, kCylinder = 2, kHead = 3, kSector = 4, kSize = 5, kLastSector = 6;
constexpr u8 kSize512 = 2;
// FORMAT TRACK: size code, sectors, gap, filler.
constexpr std::size_t kFormatSize = 2, kFormatSectors = 3, kFormatFiller = 5;
constexpr u8 kMultiTrack = 0x80, kImpliedSeek = 0x40, kHeadBit = 4;
constexpr std::size_t kSectorId = 4;  // FORMAT TRACK gets cylinder, head, sector and size code of each sector

}  // namespace

u64 Floppy82077::offset_of(const Place& at) const {
    const FloppyGeometry& g = geometry_[unit_];
    return ((u64{at.cylinder} * g.heads + at.head) * g.sectors + at.sector - 1) * kSectorSize;
}

void Floppy82077::read_id() {
    const u8 head = (command_[kHeadAndDrive] & kHeadBit) != 0 ? 1 : 0;
    place_ = {.cylinder = drive().track, .head = head, .sector = 1};
    const FloppyGeometry& g = geometry_[unit_];
    if (disk() == nullptr || head >= g.heads || drive().track >= g.tracks) {
        return end_transfer(floppy::kAbnormal, floppy::kMissingAddress, 0);
    }
    end_transfer(0, 0, 0);
}

void Floppy82077::begin_transfer(Work work) {
    const u8 head = (command_[kHeadAndDrive] & kHeadBit) != 0 ? 1 : 0;
    const bool formats = work == Work::Format;
    work_ = work;
    both_heads_ = !formats && (command_[kCode] & kMultiTrack) != 0;
    formatted_ = 0;
    if (formats) {
        place_ = {.cylinder = drive().track, .head = head, .sector = 1};
        last_sector_ = command_[kFormatSectors];
    } else {
        place_ = {.cylinder = command_[kCylinder], .head = command_[kHead], .sector = command_[kSector]};
        last_sector_ = command_[kLastSector];
        if ((configuration_ & kImpliedSeek) != 0 && disk() != nullptr) {
            drive().track = place_.cylinder;
            drive().changed = false;
        }
    }
    if (disk() == nullptr) return end_transfer(floppy::kAbnormal, floppy::kMissingAddress, 0);
    const bool writes = work == Work::Write || formats;
    if (writes && disk()->read_only()) return end_transfer(floppy::kAbnormal, floppy::kNotWritable, 0);
    if (command_[formats ? kFormatSize : kSize] != kSize512 || (formats && last_sector_ == 0)) {
        return end_transfer(floppy::kAbnormal, floppy::kNoData, 0);
    }
    if (place_.cylinder != drive().track)
        return end_transfer(floppy::kAbnormal, floppy::kNoData, floppy::kWrongCylinder);
    go_on();
}

// Sector after sector, as long as the DMA channel takes them; without DMA, up to where the guest has to come.
void Floppy82077::go_on() {
    while (true) {
        const bool to_guest = work_ == Work::Read;
        fifo_.assign(work_ == Work::Format ? kSectorId : kSectorSize, 0);
        at_ = 0;
        if (work_ == Work::Read || work_ == Work::Verify) {
            if (!load_sector()) return;
        }
        if (work_ != Work::Verify && !by_dma()) {
            phase_ = to_guest ? Phase::ReadFifo : Phase::WriteFifo;
            return raise_interrupt();
        }
        if (work_ != Work::Verify) {
            const std::size_t moved =
                to_guest ? dma_.to_memory(kDmaChannel, fifo_) : dma_.from_memory(kDmaChannel, fifo_);
            const bool ended = dma_.terminal_count(kDmaChannel);
            if (moved < fifo_.size() && !ended) return end_transfer(floppy::kAbnormal, floppy::kOverrun, 0);
            // Terminal count in the middle of a sector: the rest of it is written as zeros.
            if (!to_guest && !store_sector()) return;
            if (ended) {
                if (work_ == Work::Format) {
                    ++place_.sector;
                } else {
                    place_ = next_place();
                }
                return end_transfer(0, 0, 0);
            }
        }
        if (!advance()) return;
    }
}

bool Floppy82077::find_sector() {
    const FloppyGeometry& g = geometry_[unit_];
    const bool exists = place_.cylinder < g.tracks && place_.head < g.heads && place_.sector >= 1 &&
                        place_.sector <= g.sectors && offset_of(place_) / kSectorSize < disk()->size_in_sectors();
    if (!exists) end_transfer(floppy::kAbnormal, floppy::kNoData, 0);
    return exists;
}

bool Floppy82077::load_sector() {
    if (!find_sector()) return false;
    if (disk()->read(offset_of(place_), fifo_)) return true;
    end_transfer(floppy::kAbnormal, floppy::kDataError, 0);
    return false;
}

bool Floppy82077::store_sector() {
    if (work_ == Work::Format) {
        place_ = {.cylinder = fifo_[0], .head = fifo_[1], .sector = fifo_[2]};
        fifo_.assign(kSectorSize, command_[kFormatFiller]);
    }
    if (!find_sector()) return false;
    if (disk()->write(offset_of(place_), fifo_)) return true;
    end_transfer(floppy::kAbnormal, floppy::kDataError, 0);
    return false;
}

// What the result phase tells of where the transfer ended (82077AA data sheet, table "Result phase"): one sector on,
// which behind the last of a track is the first one of the other head or the next cylinder.
Floppy82077::Place Floppy82077::next_place() const {
    Place next = place_;
    if (place_.sector != last_sector_) {
        ++next.sector;
        return next;
    }
    next.sector = 1;
    if (!both_heads_ || place_.head == 1) ++next.cylinder;
    if (both_heads_) next.head ^= 1;
    return next;
}

// To the next sector. False if that was the last: without terminal count, the command then has run off the cylinder.
bool Floppy82077::advance() {
    if (work_ == Work::Format) {
        if (++formatted_ < last_sector_) return true;
        end_transfer(0, 0, 0);
        return false;
    }
    const bool goes_on = place_.sector != last_sector_ || (both_heads_ && place_.head == 0);
    place_ = next_place();
    if (goes_on) return true;
    if (work_ == Work::Verify) {
        end_transfer(0, 0, 0);
    } else {
        end_transfer(floppy::kAbnormal, floppy::kEndOfCylinder, 0);
    }
    return false;
}

void Floppy82077::end_transfer(u8 error0, u8 status1, u8 status2) {
    const u8 status0 = static_cast<u8>(error0 | (place_.head & 1) << 2 | unit_);
    results({status0, status1, status2, place_.cylinder, place_.head, place_.sector, kSize512});
    raise_interrupt();
}

}  // namespace dualvm::devices
