// The packet commands of the CD-ROM drive (MMC-3, chapter 5; INQUIRY and REQUEST SENSE: SPC-3, chapter 6).
#include <algorithm>
#include <string_view>

#include "big_endian.h"
#include "dualvm/devices/atapi_cdrom.h"
#include "mmc.h"

namespace dualvm::devices {

namespace {

constexpr u8 kDataTrack = 0x14;  // ADR 1, control 4: a data track that must not be copied
constexpr u8 kLeadOut = 0xaa;

void put_text(std::vector<u8>& to, std::size_t at, std::size_t size, std::string_view text) {
    for (std::size_t i = 0; i < size; ++i) to[at + i] = i < text.size() ? static_cast<u8>(text[i]) : ' ';
}

// A block's number as minute, second and frame; the first two seconds come before block 0.
u64 to_msf(u64 block) {
    const u64 frames = block + 150;
    return std::min<u64>(frames / (75 * 60), 255) << 16 | (frames / 75 % 60) << 8 | frames % 75;
}

}  // namespace

void AtapiCdrom::run_packet(const Packet& p) {
    const auto number = [&p](unsigned at, unsigned bytes) { return big_endian(p.data() + at, bytes); };
    const bool even_if_changed = p[0] == mmc::kRequestSense || p[0] == mmc::kInquiry ||
                                 p[0] == mmc::kGetConfiguration || p[0] == mmc::kGetEventStatus;
    // After a reset or a change of discs the first command is refused, so that the host learns of it (SAM-2, 5.9.5).
    if (attention_.key != 0 && !even_if_changed) return refuse(std::exchange(attention_, {}));
    switch (p[0]) {
        case mmc::kTestUnitReady:
            if (disc_ready()) complete();
            return;
        case mmc::kRequestSense: return request_sense(p);
        case mmc::kInquiry: return inquiry(p);
        case mmc::kModeSense6: return mode_sense(p[2] & 0x3f, p[4], false);
        case mmc::kModeSense10: return mode_sense(p[2] & 0x3f, number(7, 2), true);
        case mmc::kStartStopUnit: return start_stop(p);
        case mmc::kPreventAllow: locked_ = (p[4] & 1) != 0; return complete();
        case mmc::kReadCapacity: return read_capacity();
        case mmc::kRead10: return read(number(2, 4), number(7, 2));
        case mmc::kRead12: return read(number(2, 4), number(6, 4));
        case mmc::kReadCd: return read_cd(p);
        case mmc::kSeek10:
            if (!disc_ready()) return;
            return number(2, 4) < blocks() ? complete() : refuse(sense::kBlockOutOfRange<Sense>);
        case mmc::kReadToc: return read_toc(p);
        case mmc::kGetConfiguration: return get_configuration(p);
        case mmc::kGetEventStatus: return get_event_status(p);
        case mmc::kReadDiscInformation: return read_disc_information(p);
        case mmc::kReadTrackInformation: return read_track_information(p);
        case mmc::kSetCdSpeed: return complete();
        case mmc::kMechanismStatus: return mechanism_status(p);
        default: return refuse(sense::kInvalidCommand<Sense>);
    }
}

bool AtapiCdrom::disc_ready() {
    if (!has_disc()) refuse(sense::kNoDisc<Sense>);
    return has_disc();
}

void AtapiCdrom::request_sense(const Packet& p) {
    // A pending unit attention is told here, too, and is done with.
    const Sense told = sense_.key == 0 ? std::exchange(attention_, {}) : sense_;
    std::vector<u8> data(18);
    data[0] = 0x70;  // current error, fixed format
    data[2] = told.key;
    data[7] = 10;
    data[12] = told.code;
    data[13] = told.qualifier;
    reply(std::move(data), p[4]);
}

void AtapiCdrom::inquiry(const Packet& p) {
    if ((p[1] & 1) != 0) return refuse(sense::kInvalidField<Sense>);  // no vital product data
    std::vector<u8> data(36);
    data[0] = 5;     // CD-ROM
    data[1] = 0x80;  // removable
    data[3] = 0x21;  // ATAPI
    data[4] = 31;
    put_text(data, 8, 8, "DUALVM");
    put_text(data, 16, 16, "DUALVM CD-ROM");
    put_text(data, 32, 4, "1.0");
    reply(std::move(data), p[4]);
}

void AtapiCdrom::mode_sense(u8 page, u64 allocation, bool long_header) {
    constexpr u8 kErrorRecovery = 0x01, kAudio = 0x0e, kCapabilities = 0x2a, kAll = 0x3f;
    std::vector<u8> data(long_header ? 8 : 4);
    const auto add_page = [&](u8 code, std::size_t length) {
        data.resize(data.size() + 2 + length);
        const std::size_t at = data.size() - 2 - length;
        data[at] = code;
        data[at + 1] = static_cast<u8>(length);
        return at;
    };
    if (page == kErrorRecovery || page == kAll) data[add_page(kErrorRecovery, 6) + 3] = 5;  // retries
    if (page == kAudio || page == kAll) add_page(kAudio, 14);
    if (page == kCapabilities || page == kAll) {
        const std::size_t at = add_page(kCapabilities, 18);
        data[at + 2] = 0x03;                                       // reads CD-R and CD-RW
        data[at + 4] = 0x70;                                       // mode 2 form 1 and 2, multi-session
        data[at + 6] = static_cast<u8>(0x29 | (locked_ ? 2 : 0));  // tray, can be locked and ejected
        put_big_endian(data, at + 8, 2, 706);                      // fourfold speed, in kB/s
        put_big_endian(data, at + 12, 2, 512);                     // buffer, in KiB
        put_big_endian(data, at + 14, 2, 706);
    }
    if (data.size() == (long_header ? 8u : 4u)) return refuse(sense::kInvalidField<Sense>);
    put_big_endian(data, 0, long_header ? 2 : 1, data.size() - (long_header ? 2 : 1));
    reply(std::move(data), allocation);
}

void AtapiCdrom::start_stop(const Packet& p) {
    const bool load_eject = (p[4] & 2) != 0, begin = (p[4] & 1) != 0;
    if (!load_eject) return complete();
    if (!begin && locked_) return refuse(sense::kRemovalPrevented<Sense>);
    if (begin && tray_open_ && disc_ != nullptr) {
        attention_ = sense::kDiscChanged<Sense>;
        disc_event_ = true;
    }
    tray_open_ = !begin;
    complete();
}

void AtapiCdrom::read_capacity() {
    if (!disc_ready()) return;
    std::vector<u8> data(8);
    put_big_endian(data, 0, 4, std::max<u64>(blocks(), 1) - 1);
    put_big_endian(data, 4, 4, kBlockSize);
    reply(std::move(data), 8);
}

// User data of mode 1 blocks is all that an image has: no headers, no audio.
void AtapiCdrom::read_cd(const Packet& p) {
    enum : u8 { kNothing = 0, kUserData = 0x10, kWhat = 0xf8 };
    const u64 block = big_endian(p.data() + 2, 4), count = big_endian(p.data() + 6, 3);
    const u8 type = p[1] >> 2 & 7;
    if (!disc_ready()) return;
    if (type > 2 || p[10] != 0) return refuse(sense::kInvalidField<Sense>);
    switch (p[9] & kWhat) {
        case kNothing: return complete();
        case kUserData: return read(block, count);
        default: return refuse(sense::kInvalidField<Sense>);
    }
}

void AtapiCdrom::read_toc(const Packet& p) {
    if (!disc_ready()) return;
    const bool msf = (p[1] & 2) != 0;
    const u8 track = p[6];
    const u64 allocation = big_endian(p.data() + 7, 2);
    const u8 old_style = p[9] >> 6;
    const u8 format = (p[2] & 0xf) != 0 ? p[2] & 0xf : old_style;
    const auto address = [msf](u64 block) { return msf ? to_msf(block) : block; };
    std::vector<u8> data(4);
    const auto add = [&](std::initializer_list<u8> head, u64 block) {
        data.insert(data.end(), head);
        data.resize(data.size() + 4);
        put_big_endian(data, data.size() - 4, 4, address(block));
    };
    data[2] = data[3] = 1;  // first and last track or session
    switch (format) {
        case 0:  // tracks
            if (track > 1 && track != kLeadOut) return refuse(sense::kInvalidField<Sense>);
            if (track <= 1) add({0, kDataTrack, 1, 0}, 0);
            add({0, kDataTrack, kLeadOut, 0}, blocks());
            break;
        case 1:  // sessions
            add({0, kDataTrack, 1, 0}, 0);
            break;
        case 2: {  // as recorded in the lead-in: points A0h (first track), A1h (last track), A2h (lead-out), and track
                   // 1
            const auto add_point = [&](u8 point, u64 where) {
                data.insert(data.end(), {1, kDataTrack, 0, point, 0, 0, 0});
                data.resize(data.size() + 4);
                put_big_endian(data, data.size() - 4, 4, where);
            };
            add_point(0xa0, 1 << 16);
            add_point(0xa1, 1 << 16);
            add_point(0xa2, to_msf(blocks()));
            add_point(1, to_msf(0));
            break;
        }
        default: return refuse(sense::kInvalidField<Sense>);
    }
    put_big_endian(data, 0, 2, data.size() - 2);
    reply(std::move(data), allocation);
}

// More than fits on a CD must be a DVD.
u16 AtapiCdrom::profile() const {
    constexpr u64 kLargestCd = u64{80} * 60 * 75;
    if (!has_disc()) return 0;
    return blocks() > kLargestCd ? 0x10 : 0x08;
}

void AtapiCdrom::get_configuration(const Packet& p) {
    enum : u8 { kAllFeatures = 0, kCurrentFeatures = 1, kOneFeature = 2 };
    const u8 which = p[1] & 3;
    const u64 starting = big_endian(p.data() + 2, 2);
    std::vector<u8> data(8);
    put_big_endian(data, 6, 2, profile());
    struct Feature {
        u16 code;
        u8 flags;  // version, persistent, current
        std::vector<u8> rest;
    };
    const auto profile_entry = [this](u16 number) {
        return std::vector<u8>{static_cast<u8>(number >> 8), static_cast<u8>(number),
                               static_cast<u8>(number == profile()), 0};
    };
    std::vector<u8> profiles = profile_entry(0x10);
    for (u8 b : profile_entry(0x08)) profiles.push_back(b);
    const u8 readable = has_disc() ? 1 : 0;
    const std::array<Feature, 5> features = {{{0x0000, 0x03, profiles},
                                              {0x0001, 0x0b, {0, 0, 0, 2, 1, 0, 0, 0}},      // core: ATAPI
                                              {0x0003, 0x03, {0x29, 0, 0, 0}},               // removable: tray
                                              {0x0010, readable, {0, 0, 8, 0, 0, 1, 0, 0}},  // random readable
                                              {0x001e, readable, {0, 0, 0, 0}}}};            // CD read
    for (const Feature& f : features) {
        const bool current = (f.flags & 1) != 0;
        const bool wanted =
            which == kOneFeature ? f.code == starting : f.code >= starting && (which == kAllFeatures || current);
        if (!wanted || which > kOneFeature) continue;
        for (u8 b : {static_cast<u8>(f.code >> 8), static_cast<u8>(f.code), f.flags, static_cast<u8>(f.rest.size())}) {
            data.push_back(b);
        }
        data.insert(data.end(), f.rest.begin(), f.rest.end());
    }
    put_big_endian(data, 0, 4, data.size() - 4);
    reply(std::move(data), big_endian(p.data() + 7, 2));
}

void AtapiCdrom::get_event_status(const Packet& p) {
    constexpr u8 kPolled = 1, kMediaClass = 4, kNewMedia = 2;
    if ((p[1] & kPolled) == 0) return refuse(sense::kInvalidField<Sense>);
    std::vector<u8> data(4);
    data[3] = 1 << kMediaClass;  // the class that is supported
    if ((p[4] & (1 << kMediaClass)) != 0) {
        data[2] = kMediaClass;
        const u8 event = std::exchange(disc_event_, false) ? kNewMedia : u8{0};
        const u8 state = static_cast<u8>((tray_open_ ? 1 : 0) | (has_disc() ? 2 : 0));
        data.insert(data.end(), {event, state, 0, 0});
    } else {
        data[2] = 0x80;  // no event available
    }
    put_big_endian(data, 0, 2, data.size() - 2);
    reply(std::move(data), big_endian(p.data() + 7, 2));
}

void AtapiCdrom::read_disc_information(const Packet& p) {
    if (!disc_ready()) return;
    if ((p[1] & 7) != 0) return refuse(sense::kInvalidField<Sense>);
    std::vector<u8> data(34);
    put_big_endian(data, 0, 2, data.size() - 2);
    data[2] = 0x0e;                             // complete disc, complete last session
    data[3] = data[4] = data[5] = data[6] = 1;  // first track, sessions, first and last track of the last session
    data[7] = 0x20;                             // unrestricted use
    for (std::size_t i = 16; i < 24; ++i) data[i] = 0xff;  // no further session can start
    reply(std::move(data), big_endian(p.data() + 7, 2));
}

void AtapiCdrom::read_track_information(const Packet& p) {
    if (!disc_ready()) return;
    const u64 which = big_endian(p.data() + 2, 4);
    const u8 kind = p[1] & 3;
    const bool known = kind == 0 ? which < blocks() : kind <= 2 && which == 1;
    if (!known) return refuse(sense::kInvalidField<Sense>);
    std::vector<u8> data(36);
    put_big_endian(data, 0, 2, data.size() - 2);
    data[2] = data[3] = 1;  // track, session
    data[5] = 0x04;         // data track
    data[6] = 0x01;         // mode 1
    put_big_endian(data, 24, 4, blocks());
    reply(std::move(data), big_endian(p.data() + 7, 2));
}

void AtapiCdrom::mechanism_status(const Packet& p) {
    std::vector<u8> data(8);
    data[1] = tray_open_ ? 0x10 : 0;
    reply(std::move(data), big_endian(p.data() + 8, 2));
}

}  // namespace dualvm::devices
