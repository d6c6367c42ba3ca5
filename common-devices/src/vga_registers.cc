#include "dualvm/devices/vga_registers.h"

#include <algorithm>

namespace dualvm::devices {

namespace {

// 3Bxh stand for 3Dxh on a monochrome set-up.
enum : unsigned {
    kAttributePort = 0x3c0,
    kAttributeRead = 0x3c1,
    kMiscWrite = 0x3c2,  // read: input status 0
    kSequencerIndex = 0x3c4,
    kSequencerData = 0x3c5,
    kDacMask = 0x3c6,
    kDacReadIndex = 0x3c7,
    kDacWriteIndex = 0x3c8,
    kDacData = 0x3c9,
    kFeatureRead = 0x3ca,
    kMiscRead = 0x3cc,
    kGraphicsIndex = 0x3ce,
    kGraphicsData = 0x3cf,
    kCrtcIndex = 0x3d4,
    kCrtcData = 0x3d5,
    kStatus = 0x3da,  // input status 1; written: feature control
    kColor = 0x3d0,
    kGeneral = 0x3c0
};

constexpr u8 kColorPorts = 1, kProtect = 0x80;

// Bits that exist.
constexpr std::array<u8, 8> kSequencerBits = {0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0x00, 0x00, 0xff};
constexpr std::array<u8, 16> kGraphicsBits = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
constexpr std::array<u8, 5> kAttributeBits = {0xef, 0xff, 0x3f, 0x0f, 0x0f};  // from 10h on; below, six colour bits

// Mode 3 (the parameter table of the BIOS).
constexpr std::array<u8, 25> kTextCrtc = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                                          0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
constexpr std::array<u8, 8> kTextSequencer = {0x03, 0x00, 0x03, 0x00, 0x02};
constexpr std::array<u8, 16> kTextGraphics = {0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff};
constexpr std::array<u8, 21> kTextAttribute = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                                               0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};
constexpr u8 kTextMisc = 0x67, kShow = 0x20;

}  // namespace

void VgaRegisters::reset() { *this = VgaRegisters(); }

void VgaRegisters::enter_text_mode() {
    reset();
    std::copy(kTextCrtc.begin(), kTextCrtc.end(), crtc_.begin());
    std::copy(kTextAttribute.begin(), kTextAttribute.end(), attribute_.begin());
    sequencer_ = kTextSequencer;
    graphics_ = kTextGraphics;
    misc_ = kTextMisc;
    attribute_index_ = kShow;
    dac_.load_ega_colours();
}

// As QEMU's adapter does (hw/display/vga.c): software that reads them, or sets them back, finds what it expects.
void VgaRegisters::enter_vbe_mode(unsigned width, unsigned height, unsigned bits, unsigned pitch) {
    using namespace vga;
    const auto change = [](u8& reg, unsigned clear, unsigned set) { reg = static_cast<u8>((reg & ~clear) | set); };
    const unsigned last = height - 1;
    change(graphics_[kMiscellaneous], 0x0c, 0x05);  // graphics, 64 KiB at A0000h
    change(graphics_[kMode], 0x60, bits == 4 ? 0 : 0x40);
    change(crtc_[kModeOfCrtc], 0, 3);  // no CGA addressing
    crtc_[kOffset] = static_cast<u8>(pitch / 8);
    crtc_[kHorizontalDisplayEnd] = static_cast<u8>(width / 8 - 1);
    crtc_[kVerticalDisplayEnd] = static_cast<u8>(last);
    change(crtc_[kOverflow], 0x42, (last >> 7 & 0x02) | (last >> 3 & 0x40) | 0x10);
    crtc_[kLineCompare] = 0xff;
    change(crtc_[kMaximumScanLine], 0x9f, 0x40);  // lines are not repeated
    if (bits == 4) {
        change(sequencer_[kClocking], 8, 0);
    } else {
        change(sequencer_[kMemoryMode], 0, 8);  // chain-4, all planes
        change(sequencer_[kMapMask], 0, 0xf);
    }
}

u8 VgaRegisters::read(unsigned port, Nanoseconds now) {
    const bool color = (misc_ & kColorPorts) != 0;
    if (port < kGeneral ? color : port >= kColor && !color) return 0xff;
    if (port < kGeneral) port += 0x20;
    switch (port) {
        case kAttributePort: return attribute_index_;
        case kAttributeRead: return attribute_[attribute_index_ & 0x1f];
        case kMiscWrite: return 0x10;  // a display is connected
        case kSequencerIndex: return sequencer_index_;
        case kSequencerData: return sequencer_[sequencer_index_];
        case kDacMask: return dac_.mask();
        case kDacReadIndex: return dac_.state();
        case kDacWriteIndex: return dac_.write_index();
        case kDacData: return dac_.read_data();
        case kFeatureRead: return feature_;
        case kMiscRead: return misc_;
        case kGraphicsIndex: return graphics_index_;
        case kGraphicsData: return graphics_[graphics_index_];
        case kCrtcIndex: return crtc_index_;
        case kCrtcData: return crtc_[crtc_index_];
        case kStatus: attribute_data_next_ = false; return status(now);
        default: return 0xff;
    }
}

void VgaRegisters::write(unsigned port, u8 value) {
    const bool color = (misc_ & kColorPorts) != 0;
    if (port < kGeneral ? color : port >= kColor && !color) return;
    if (port < kGeneral) port += 0x20;
    switch (port) {
        case kAttributePort: write_attribute(value); break;
        case kMiscWrite: misc_ = value & 0xef; break;
        case kSequencerIndex: sequencer_index_ = value & 7; break;
        case kSequencerData: sequencer_[sequencer_index_] = value & kSequencerBits[sequencer_index_]; break;
        case kDacMask: dac_.set_mask(value); break;
        case kDacReadIndex: dac_.select_read(value); break;
        case kDacWriteIndex: dac_.select_write(value); break;
        case kDacData: dac_.write_data(value); break;
        case kGraphicsIndex: graphics_index_ = value & 0xf; break;
        case kGraphicsData: graphics_[graphics_index_] = value & kGraphicsBits[graphics_index_]; break;
        case kCrtcIndex: crtc_index_ = value; break;
        case kCrtcData: write_crtc(value); break;
        case kStatus: feature_ = value & 0x10; break;
        default: break;
    }
}

// One port for both: the address, then its data; reading input status 1 makes the address next.
void VgaRegisters::write_attribute(u8 value) {
    const unsigned index = attribute_index_ & 0x1f;
    if (!attribute_data_next_) {
        attribute_index_ = value & 0x3f;
    } else if (index < vga::kModeControl) {
        attribute_[index] = value & 0x3f;
    } else if (index - vga::kModeControl < kAttributeBits.size()) {
        attribute_[index] = value & kAttributeBits[index - vga::kModeControl];
    }
    attribute_data_next_ = !attribute_data_next_;
}

// Bit 7 of register 11h protects registers 0-7 but for bit 4 of 7 (line compare).
void VgaRegisters::write_crtc(u8 value) {
    u8& to = crtc_[crtc_index_];
    if ((crtc_[vga::kVerticalRetraceEnd] & kProtect) == 0 || crtc_index_ > vga::kOverflow) {
        to = value;
    } else if (crtc_index_ == vga::kOverflow) {
        to = static_cast<u8>((to & ~0x10) | (value & 0x10));
    }
}

// Input status 1: bit 0 while nothing is displayed, bit 3 in vertical retrace. Where the beam is follows from the time
// and the CRT controller's registers.
u8 VgaRegisters::status(Nanoseconds now) const {
    using namespace vga;
    const unsigned overflow = crtc_[kOverflow];
    const auto vertical = [&](Crtc low, unsigned bit8, unsigned bit9) {
        return u64{crtc_[low]} | (overflow >> bit8 & 1) << 8 | (overflow >> bit9 & 1) << 9;
    };
    const u64 dots = (sequencer_[kClocking] & 1) != 0 ? 8 : 9;
    const u64 divisor = (sequencer_[kClocking] & 8) != 0 ? 2 : 1;
    const u64 kilohertz = (misc_ >> 2 & 3) == 1 ? 28'322 : 25'175;
    const u64 characters = crtc_[kHorizontalTotal] + u64{5}, lines = vertical(kVerticalTotal, 0, 5) + 2;
    const u64 line_time = characters * dots * divisor * 1'000'000 / kilohertz;
    const u64 in_frame = now % (line_time * lines);
    const u64 line = in_frame / line_time, character = in_frame % line_time * characters / line_time;
    const u64 retrace = vertical(kVerticalRetraceStart, 2, 7);
    // How many lines the retrace is long, the register's four bits say by those of the line at its end.
    const u64 retrace_lines = ((crtc_[kVerticalRetraceEnd] - retrace - 1) & 0xf) + 1;
    const bool in_retrace = line >= retrace && line < retrace + retrace_lines;
    const bool blank = line > vertical(kVerticalDisplayEnd, 1, 6) || character > crtc_[kHorizontalDisplayEnd];
    return static_cast<u8>((blank || in_retrace ? 1 : 0) | (in_retrace ? 8 : 0));
}

void VgaRegisters::save(ArchiveWriter& out) const {
    out.put_bytes(sequencer_.data(), sequencer_.size());
    out.put_bytes(graphics_.data(), graphics_.size());
    out.put_bytes(attribute_.data(), attribute_.size());
    out.put_bytes(crtc_.data(), crtc_.size());
    for (u8 v : {sequencer_index_, graphics_index_, attribute_index_, crtc_index_, misc_, feature_,
                 u8{attribute_data_next_}}) {
        out.put(v);
    }
    dac_.save(out);
}

void VgaRegisters::load(ArchiveReader& in) {
    in.get_bytes(sequencer_.data(), sequencer_.size());
    in.get_bytes(graphics_.data(), graphics_.size());
    in.get_bytes(attribute_.data(), attribute_.size());
    in.get_bytes(crtc_.data(), crtc_.size());
    for (u8* v : {&sequencer_index_, &graphics_index_, &attribute_index_, &crtc_index_, &misc_, &feature_}) in.get(*v);
    attribute_data_next_ = in.get<u8>() != 0;
    dac_.load(in);
    // What a write would have kept of it.
    for (std::size_t i = 0; i < sequencer_.size(); ++i) sequencer_[i] &= kSequencerBits[i];
    for (std::size_t i = 0; i < graphics_.size(); ++i) graphics_[i] &= kGraphicsBits[i];
    for (std::size_t i = 0; i < vga::kModeControl; ++i) attribute_[i] &= 0x3f;
    for (std::size_t i = 0; i < kAttributeBits.size(); ++i) attribute_[vga::kModeControl + i] &= kAttributeBits[i];
    sequencer_index_ &= 7;
    graphics_index_ &= 0xf;
    attribute_index_ &= 0x3f;
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices
