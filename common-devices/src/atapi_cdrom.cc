#include "dualvm/devices/atapi_cdrom.h"

#include <algorithm>

#include "big_endian.h"
#include "identify_words.h"
#include "mmc.h"

namespace dualvm::devices {

namespace {

enum : u8 {
    kDeviceReset = 0x08,
    kReadSectors = 0x20,
    kDiagnostic = 0x90,
    kPacketCommand = 0xa0,
    kIdentifyPacket = 0xa1,
    kStandbyImmediate = 0xe0,
    kIdleImmediate = 0xe1,
    kCheckPower = 0xe5,
    kSleep = 0xe6,
    kIdentify = 0xec,
    kSetFeatures = 0xef
};
// The count register is the interrupt reason here (ATA/ATAPI-6, 7.9): what the data is, and which way it goes.
enum : u8 { kIsCommand = 1, kToGuest = 2 };
constexpr u8 kByDma = 1;  // features register of PACKET
constexpr u8 kSignatureMid = 0x14, kSignatureHigh = 0xeb;

}  // namespace

AtapiCdrom::AtapiCdrom(Disk* disc, unsigned number) : disc_(disc), number_(number) { AtapiCdrom::reset_drive(true); }

void AtapiCdrom::reset_drive(bool power_on) {
    set_signature(kSignatureMid, kSignatureHigh);
    status_ = 0;  // not ready for anything but its own commands
    phase_ = Phase::Idle;
    run_ = {};
    buffer_.clear();
    sent_ = 0;
    if (!power_on) return;
    by_dma_ = tray_open_ = locked_ = disc_event_ = false;
    transfer_mode_ = 0;
    sense_ = {};
    attention_ = sense::kPowerOn<Sense>;
}

void AtapiCdrom::execute(u8 command) {
    if (command != kDeviceReset) stop_transfer();
    clear_interrupt();
    phase_ = Phase::Idle;
    switch (command) {
        case kPacketCommand:
            by_dma_ = (features_.now & kByDma) != 0;
            // 0 and odd limits make no sense to a bus of 16 bits; FFFFh stands for FFFEh.
            byte_limit_ = static_cast<u16>((mid_.now | high_.now << 8) & 0xfffe);
            if (byte_limit_ == 0) byte_limit_ = 0xfffe;
            phase_ = Phase::Packet;
            buffer_.assign(kPacketSize, 0);
            count_.set(kIsCommand);
            return start(Transfer::PioOut, kPacketSize);
        case kDeviceReset: {
            const u8 device = device_;
            reset_drive(false);
            device_ = device & ata::kSecondDevice;
            return;
        }
        case kDiagnostic: reset_drive(false); return request_interrupt();
        case kIdentifyPacket: return identify();
        case kSetFeatures: return set_features();
        case kCheckPower: count_.set(0xff); return succeed();
        case kStandbyImmediate:
        case kIdleImmediate:
        case kSleep: return succeed();
        case kIdentify:
        case kReadSectors:  // "shall abort and place the signature": so hosts find what this is
            low_.set(1);
            count_.set(1);
            mid_.set(kSignatureMid);
            high_.set(kSignatureHigh);
            return fail(ata::kAborted);
        default: return fail(ata::kAborted);
    }
}

void AtapiCdrom::set_features() {
    constexpr u8 kTransferMode = 0x03;
    if (features_.now != kTransferMode) return fail(ata::kAborted);
    transfer_mode_ = count_.now;
    succeed();
}

void AtapiCdrom::identify() {
    IdentifyWords words;
    words[0] = 0x85c0;  // ATAPI CD-ROM, removable, DRQ within 50 microseconds, 12-byte packets
    words.text(10, 10, "DUALVM" + std::to_string(number_ + 1));
    words.text(23, 4, "1.0");
    words.text(27, 20, "DUALVM CD-ROM");
    words[49] = 0x0b00;  // IORDY, LBA, DMA
    words[53] = 7;
    words[63] = dma_modes(transfer_mode_, 0x20, 0x07);
    words[64] = 3;
    for (unsigned i = 65; i <= 68; ++i) words[i] = 120;
    words[80] = 0x007e;
    words[82] = 0x4210;  // NOP, DEVICE RESET, PACKET
    words[83] = words[84] = 0x4000;
    words[85] = 0x4210;
    words[87] = 0x4000;
    words[88] = dma_modes(transfer_mode_, 0x40, 0x3f);
    words[93] = 0x6001;
    buffer_ = words.bytes();
    start(Transfer::PioIn, buffer_.size());
    request_interrupt();
}

void AtapiCdrom::window_done() {
    switch (phase_) {
        case Phase::Idle:  // IDENTIFY PACKET DEVICE
            stop_transfer();
            status_ = ata::kReady | ata::kSeekComplete;
            return;
        case Phase::Packet: return take_packet();
        case Phase::Data: return send();
    }
}

void AtapiCdrom::take_packet() {
    Packet packet{};
    std::copy_n(buffer_.begin(), kPacketSize, packet.begin());
    stop_transfer();
    buffer_.clear();
    sent_ = 0;
    run_ = {};
    run_packet(packet);
}

void AtapiCdrom::reply(std::vector<u8> data, u64 allocation) {
    buffer_ = std::move(data);
    if (buffer_.size() > allocation) buffer_.resize(allocation);
    phase_ = Phase::Data;
    sent_ = 0;
    sense_ = {};
    stop_transfer();
    send();
}

// The next part of the data: by DMA all that is in the buffer, by PIO as much as the byte count
// registers allowed when the command came; since then they say how much there is.
void AtapiCdrom::send() {
    if (sent_ == buffer_.size() && !next_blocks()) return;
    const std::size_t left = buffer_.size() - sent_;
    if (left == 0) return complete();
    std::size_t bytes = left;
    if (!by_dma_) {
        bytes = std::min<std::size_t>(left, byte_limit_);
        mid_.set(static_cast<u8>(bytes));
        high_.set(static_cast<u8>(bytes >> 8));
    }
    count_.set(kToGuest);
    if (sent_ == 0) {
        start(by_dma_ ? Transfer::DmaIn : Transfer::PioIn, bytes);
    } else {
        go_on(bytes);
    }
    sent_ += bytes;
    if (!by_dma_) request_interrupt();
}

// Fills the buffer with what is still to come from the disc. False if that has ended the command.
bool AtapiCdrom::next_blocks() {
    buffer_.clear();
    sent_ = 0;
    if (run_.left == 0) return true;
    const u64 now = std::min(run_.left, kBlocksAtOnce);
    buffer_.resize(now * kBlockSize);
    if (!disc_->read(run_.block * kBlockSize, buffer_)) {
        refuse(sense::kReadError<Sense>);
        return false;
    }
    run_.block += now;
    run_.left -= now;
    return true;
}

void AtapiCdrom::complete() {
    sense_ = {};
    phase_ = Phase::Idle;
    succeed();
    count_.set(kIsCommand | kToGuest);
}

// The sense key is in the upper half of the error register.
void AtapiCdrom::refuse(const Sense& sense) {
    sense_ = sense;
    phase_ = Phase::Idle;
    run_ = {};
    fail(static_cast<u8>(sense.key << 4 | ata::kAborted));
    count_.set(kIsCommand | kToGuest);
}

void AtapiCdrom::read(u64 block, u64 count) {
    if (!disc_ready()) return;
    if (block > blocks() || count > blocks() - block) return refuse(sense::kBlockOutOfRange<Sense>);
    run_ = {block, count};
    reply({}, 0);
}

void AtapiCdrom::save(ArchiveWriter& out) const {
    IdeDrive::save(out);
    out.put(static_cast<u8>(phase_));
    out.put(static_cast<u32>(sent_));
    out.put(run_.block);
    out.put(run_.left);
    for (const Sense& s : {sense_, attention_}) {
        for (u8 v : {s.key, s.code, s.qualifier}) out.put(v);
    }
    for (bool v : {by_dma_, tray_open_, locked_, disc_event_}) out.put(static_cast<u8>(v));
    out.put(transfer_mode_);
    out.put(byte_limit_);
}

void AtapiCdrom::load(ArchiveReader& in) {
    IdeDrive::load(in);
    const u8 phase = in.get<u8>();
    phase_ = static_cast<Phase>(phase);
    sent_ = in.get<u32>();
    in.get(run_.block);
    in.get(run_.left);
    for (Sense* s : {&sense_, &attention_}) {
        for (u8* v : {&s->key, &s->code, &s->qualifier}) in.get(*v);
    }
    for (bool* v : {&by_dma_, &tray_open_, &locked_, &disc_event_}) *v = in.get<u8>() != 0;
    in.get(transfer_mode_);
    in.get(byte_limit_);
    if (byte_limit_ < 2 || byte_limit_ % 2 != 0) in.set_bad();
    const bool to_guest = transfer() == Transfer::PioIn || transfer() == Transfer::DmaIn;
    const bool fits = phase <= static_cast<u8>(Phase::Data) && sent_ <= buffer_.size() && run_.block <= blocks() &&
                      run_.left <= blocks() - run_.block && transfer() != Transfer::DmaOut;
    const bool packet = phase_ == Phase::Packet;
    if (!fits || packet != (transfer() == Transfer::PioOut) || (packet && buffer_.size() != kPacketSize) ||
        (phase_ == Phase::Data && !to_guest)) {
        in.set_bad();
    }
    if (!in.ok()) reset_drive(true);
}

}  // namespace dualvm::devices
