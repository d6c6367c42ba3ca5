// Registers, command bytes and results; what happens to sectors is in floppy_sectors.cc.
#include "dualvm/devices/floppy82077.h"

#include <algorithm>
#include <utility>

#include "byte_ports.h"
#include "floppy_bits.h"

namespace dualvm::devices {

namespace {

// Registers ("Register set"); writing 4 and 7 means others than reading them.
enum : unsigned { kStatusA, kStatusB, kDigitalOutput, kTapeDrive, kMainStatus, kFifo };
enum : u8 { kRequest = 0x80, kToHost = 0x40, kNonDma = 0x20, kCommandBusy = 0x10 };  // main status
using floppy::kInterruptGate;
using floppy::kNotReset;
constexpr u8 kSoftwareReset = 0x80;  // data rate select
constexpr u8 kChanged = 0x80;        // digital input
constexpr u8 kNoPolling = 0x10;      // CONFIGURE

// Bytes of each command, by its lower five bits ("Command set"); 1 for what is not one.
unsigned command_length(u8 code) {
    switch (code & 0x1f) {
        case floppy::kReadTrack:
        case floppy::kWrite:
        case floppy::kRead:
        case floppy::kWriteDeleted:
        case floppy::kReadDeleted:
        case floppy::kVerify: return 9;
        case floppy::kSpecify: return 3;
        case floppy::kSenseDrive:
        case floppy::kRecalibrate:
        case floppy::kReadId:
        case floppy::kPerpendicular: return 2;
        case floppy::kFormat: return 6;
        case floppy::kSeek: return 3;
        case floppy::kConfigure: return 4;
        default: return 1;
    }
}

}  // namespace

FloppyGeometry floppy_geometry(u64 image_sectors) {
    constexpr std::array<FloppyGeometry, 8> kKnown = {{{40, 1, 8, 1},
                                                       {40, 1, 9, 1},
                                                       {40, 2, 8, 1},
                                                       {40, 2, 9, 1},
                                                       {80, 2, 9, 3},
                                                       {80, 2, 15, 2},
                                                       {80, 2, 18, 4},
                                                       {80, 2, 36, 5}}};
    for (const FloppyGeometry& g : kKnown) {
        if (image_sectors <= u64{g.tracks} * g.heads * g.sectors) return g;
    }
    return kKnown.back();
}

Floppy82077::Floppy82077(Dma8237Pair& dma, IrqLine interrupt, std::array<Disk*, kDrives> disks)
    : dma_(dma), line_(std::move(interrupt)), disks_(disks) {
    for (unsigned i = 0; i < kDrives; ++i) {
        if (disks_[i] != nullptr) geometry_[i] = floppy_geometry(disks_[i]->size_in_sectors());
    }
    Floppy82077::reset();
}

void Floppy82077::reset() {
    drives_ = {};
    digital_output_ = kNotReset | kInterruptGate;
    data_rate_ = 2;
    specify_ = step_rate_ = tape_ = perpendicular_ = configuration_ = precompensation_ = 0;
    locked_ = false;
    unit_ = 0;
    place_ = {};
    last_sector_ = formatted_ = 0;
    both_heads_ = false;
    work_ = Work::Read;
    soft_reset();
    interrupt_ = false;
    line_.lower();
}

// Parameters of CONFIGURE live on if LOCK says so.
void Floppy82077::soft_reset() {
    phase_ = Phase::Command;
    command_.clear();
    fifo_.clear();
    at_ = 0;
    if (!locked_) configuration_ = precompensation_ = 0;
    to_sense_ = {};
}

// Leaving reset, the controller polls its drives and says of each that it is ready or not ("Reset"), if CONFIGURE has
// not stopped that.
void Floppy82077::poll_drives() {
    if ((configuration_ & kNoPolling) != 0) return;
    for (unsigned i = 0; i < kUnits; ++i) to_sense_[i] = static_cast<u8>(floppy::kPolled | i);
    raise_interrupt();
}

u8 Floppy82077::main_status() const {
    if ((digital_output_ & kNotReset) == 0) return 0;
    u8 status = kRequest;
    const bool to_host = phase_ == Phase::Result || phase_ == Phase::ReadFifo;
    if (to_host) status |= kToHost;
    if (phase_ == Phase::ReadFifo || phase_ == Phase::WriteFifo) status |= kNonDma;
    if (phase_ != Phase::Command || !command_.empty()) status |= kCommandBusy;
    return status;
}

u8 Floppy82077::read_register(unsigned reg) {
    switch (reg) {
        case kStatusA: return static_cast<u8>(interrupt_ ? 0x80 : 0);
        case kStatusB: return 0xc0;
        case kDigitalOutput: return digital_output_;
        case kTapeDrive: return tape_;
        case kMainStatus: return main_status();
        case kFifo: return pop_fifo();
        case kDigitalInput: {
            const unsigned selected = digital_output_ & 3u;
            const bool motor = (digital_output_ >> (4 + selected) & 1) != 0;
            const bool there = selected < kDrives && disks_[selected] != nullptr;
            const bool changed = motor && (!there || drives_[selected].changed);
            return changed ? kChanged : u8{0};
        }
        default: return 0xff;
    }
}

void Floppy82077::write_register(unsigned reg, u8 value) {
    switch (reg) {
        case kDigitalOutput: return write_digital_output(value);
        case kTapeDrive: tape_ = value & 3; break;
        case kMainStatus:  // DSR
            data_rate_ = value & 3;
            if ((value & kSoftwareReset) != 0) {
                soft_reset();
                poll_drives();
            }
            break;
        case kFifo: return push_fifo(value);
        case kDigitalInput: data_rate_ = value & 3; break;  // CCR
        default: break;
    }
}

void Floppy82077::write_digital_output(u8 value) {
    const bool was = (digital_output_ & kNotReset) != 0, is = (value & kNotReset) != 0;
    digital_output_ = value;
    if (!is) {
        soft_reset();
        interrupt_ = false;
    } else if (!was) {
        soft_reset();
        poll_drives();
    }
    set_line();
}

void Floppy82077::set_line() { line_.set(interrupt_ && (digital_output_ & kInterruptGate) != 0); }

void Floppy82077::raise_interrupt() {
    interrupt_ = true;
    set_line();
}

// A seek interrupts until SENSE INTERRUPT STATUS has told of it, whatever else is done meanwhile.
bool Floppy82077::seek_ended() const {
    return std::any_of(to_sense_.begin(), to_sense_.end(), [](u8 s) { return (s & floppy::kSeekEnd) != 0; });
}

// The guest has seen the interrupt that is there.
void Floppy82077::taken() {
    interrupt_ = seek_ended();
    set_line();
}

u8 Floppy82077::pop_fifo() {
    if (phase_ != Phase::Result && phase_ != Phase::ReadFifo) return 0;
    taken();
    const u8 value = fifo_[at_++];
    if (at_ < fifo_.size()) return value;
    if (phase_ == Phase::Result) {
        phase_ = Phase::Command;
        command_.clear();
        at_ = 0;
    } else if (advance()) {
        go_on();
    }
    return value;
}

void Floppy82077::push_fifo(u8 value) {
    if ((digital_output_ & kNotReset) == 0) return;
    if (phase_ == Phase::WriteFifo) {
        taken();
        fifo_[at_++] = value;
        if (at_ == fifo_.size() && store_sector() && advance()) go_on();
        return;
    }
    if (phase_ != Phase::Command) return;
    command_.push_back(value);
    if (command_.size() == command_length(command_[0])) run_command();
}

void Floppy82077::results(std::initializer_list<u8> bytes) {
    phase_ = Phase::Result;
    fifo_ = bytes;
    at_ = 0;
}

void Floppy82077::run_command() {
    const u8 code = command_[0];
    const unsigned family = code & 0x1f;
    const bool names_drive =
        family != floppy::kSpecify && family != floppy::kConfigure && family != floppy::kPerpendicular;
    if (command_.size() > 1 && names_drive) unit_ = command_[1] & 3;
    const auto done = [this] { command_.clear(); };
    switch (family) {
        case floppy::kSpecify:
            step_rate_ = command_[1];
            specify_ = command_[2];
            return done();
        case floppy::kSenseDrive: return results({drive_status()});
        case floppy::kSenseInterrupt: return sense_interrupt();
        case floppy::kRecalibrate: seek(0); return done();
        case floppy::kSeek:
            // The upper bit makes it relative ("Relative seek"), by the next one up or down.
            seek(static_cast<u8>((code & 0x80) == 0   ? command_[2]
                                 : (code & 0x40) != 0 ? std::min(255, drive().track + command_[2])
                                                      : std::max(0, drive().track - command_[2])));
            return done();
        case floppy::kReadId: return read_id();
        case floppy::kRead:
        case floppy::kReadDeleted:
        case floppy::kReadTrack: return begin_transfer(Work::Read);
        case floppy::kWrite:
        case floppy::kWriteDeleted: return begin_transfer(Work::Write);
        case floppy::kVerify: return begin_transfer(Work::Verify);
        case floppy::kFormat: return begin_transfer(Work::Format);
        case floppy::kVersion: return results({floppy::kEnhanced});
        case floppy::kConfigure:
            configuration_ = command_[2];
            precompensation_ = command_[3];
            return done();
        case floppy::kDumpRegisters:
            return results({drives_[0].track, drives_[1].track, 0, 0, step_rate_, specify_, last_sector_,
                            static_cast<u8>((locked_ ? 0x80 : 0) | perpendicular_), configuration_, precompensation_});
        case floppy::kPerpendicular: perpendicular_ = command_[1] & 0x7f; return done();
        case floppy::kLock: locked_ = (code & 0x80) != 0; return results({static_cast<u8>(locked_ ? 0x10 : 0)});
        default: return results({floppy::kInvalid});
    }
}

// Seeks first: a guest that takes less than the four that a reset has for it must not miss one.
void Floppy82077::sense_interrupt() {
    auto told = std::find_if(to_sense_.begin(), to_sense_.end(), [](u8 s) { return (s & floppy::kSeekEnd) != 0; });
    const bool seek = told != to_sense_.end();
    if (!seek) told = std::find_if(to_sense_.begin(), to_sense_.end(), [](u8 s) { return s != 0; });
    if (told == to_sense_.end()) return results({floppy::kInvalid});
    const u8 track = seek ? drives_[static_cast<std::size_t>(told - to_sense_.begin())].track : u8{0};
    results({std::exchange(*told, u8{0}), track});
    taken();
}

// ST3.
u8 Floppy82077::drive_status() const {
    enum : u8 { kWriteProtected = 0x40, kTrack0 = 0x10, kAlwaysOne = 0x28 };
    u8 status = static_cast<u8>(kAlwaysOne | (command_[1] & 7));
    if (drives_[unit_].track == 0) status |= kTrack0;
    if (disk() != nullptr && disk()->read_only()) status |= kWriteProtected;
    return status;
}

void Floppy82077::seek(u8 track) {
    u8 status = floppy::kSeekEnd | (command_[1] & 7);
    if (disk() == nullptr) {
        status |= floppy::kAbnormal | floppy::kEquipmentCheck;
    } else {
        drive().track = std::min<u8>(track, static_cast<u8>(geometry_[unit_].tracks + 2));
        drive().changed = false;  // step pulses clear the change line
    }
    to_sense_[unit_] = status;
    raise_interrupt();
}

u64 Floppy82077::read(u64 offset, unsigned size) {
    return read_by_bytes(offset, size, [this](u64 at) { return read_register(static_cast<unsigned>(at)); });
}

void Floppy82077::write(u64 offset, unsigned size, u64 value) {
    write_by_bytes(offset, size, value, [this](u64 at, u8 byte) { write_register(static_cast<unsigned>(at), byte); });
}

void Floppy82077::save(ArchiveWriter& out) const {
    out.tag("FDC ", 2);
    for (const Drive& d : drives_) {
        out.put(d.track);
        out.put(static_cast<u8>(d.changed));
    }
    for (u8 v : {static_cast<u8>(phase_), static_cast<u8>(work_), static_cast<u8>(unit_), place_.cylinder, place_.head,
                 place_.sector, last_sector_, formatted_, digital_output_, data_rate_, specify_, step_rate_, tape_,
                 perpendicular_, configuration_, precompensation_}) {
        out.put(v);
    }
    out.put_bytes(to_sense_.data(), to_sense_.size());
    for (bool v : {both_heads_, locked_, interrupt_}) out.put(static_cast<u8>(v));
    for (const auto* bytes : {&command_, &fifo_}) {
        out.put(static_cast<u16>(bytes->size()));
        out.put_bytes(bytes->data(), bytes->size());
    }
    out.put(static_cast<u16>(at_));
}

void Floppy82077::load(ArchiveReader& in) {
    in.expect("FDC ", 2);
    for (Drive& d : drives_) {
        in.get(d.track);
        d.changed = in.get<u8>() != 0;
    }
    u8 phase = 0, work = 0, unit = 0;
    for (u8* v : {&phase, &work, &unit, &place_.cylinder, &place_.head, &place_.sector, &last_sector_, &formatted_,
                  &digital_output_, &data_rate_, &specify_, &step_rate_, &tape_, &perpendicular_, &configuration_,
                  &precompensation_}) {
        in.get(*v);
    }
    in.get_bytes(to_sense_.data(), to_sense_.size());
    for (bool* v : {&both_heads_, &locked_, &interrupt_}) *v = in.get<u8>() != 0;
    for (auto* bytes : {&command_, &fifo_}) {
        const u16 size = in.get<u16>();
        if (size > kSectorSize) in.set_bad();
        bytes->assign(in.ok() ? size : 0, 0);
        if (!bytes->empty()) in.get_bytes(bytes->data(), bytes->size());
    }
    at_ = in.get<u16>();
    phase_ = static_cast<Phase>(phase);
    work_ = static_cast<Work>(work);
    unit_ = unit & 3;
    // Where the guest's next access goes must be inside what is there.
    const bool sector = phase_ == Phase::ReadFifo || phase_ == Phase::WriteFifo;
    const std::size_t expected = work_ == Work::Format ? 4 : kSectorSize;
    const bool command =
        phase_ == Phase::Command && (command_.empty() || command_.size() < command_length(command_[0]));
    const bool moving = sector && disk() != nullptr && command_.size() > 1 &&
                        command_.size() == command_length(command_[0]) && fifo_.size() == expected &&
                        (work_ == Work::Format) == ((command_[0] & 0x1f) == floppy::kFormat);
    if (phase > static_cast<u8>(Phase::Result) || work > static_cast<u8>(Work::Verify) ||
        (phase_ == Phase::Command ? !command : at_ >= fifo_.size()) || (sector && !moving)) {
        in.set_bad();
    }
    if (!in.ok()) reset();
    set_line();
}

}  // namespace dualvm::devices
