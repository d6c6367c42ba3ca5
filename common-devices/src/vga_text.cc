#include "dualvm/devices/vga_text.h"

#include <algorithm>

#include "byte_ports.h"

namespace dualvm::devices {

namespace {

// Port numbers (IBM VGA technical reference, "Registers"); 3Bxh stand for 3Dxh on a monochrome set-up.
enum : unsigned {
    kAttribute = 0x3c0,
    kAttributeRead = 0x3c1,
    kMiscWrite = 0x3c2,
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
    kStatus = 0x3da
};

// Registers of the CRT controller.
enum : u8 {
    kCrtcOverflow = 0x07,
    kCrtcCursorStart = 0x0a,
    kCrtcStartHigh = 0x0c,
    kCrtcStartLow = 0x0d,
    kCrtcCursorHigh = 0x0e,
    kCrtcCursorLow = 0x0f,
    kCrtcProtect = 0x11
};

// CRT controller values of mode 3, 80 x 25 (the BIOS's parameter table).
constexpr std::array<u8, 25> kMode3Crtc = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                                           0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};

}  // namespace

VgaText::VgaText(Clock& clock) : clock_(clock), memory_(kWindowSize) { VgaText::reset(); }

void VgaText::reset() {
    std::fill(memory_.begin(), memory_.end(), 0);
    for (u64 i = kTextOffset; i < kWindowSize; i += 2) {
        memory_[i] = ' ';
        memory_[i + 1] = 7;
    }
    crtc_ = {};
    std::copy(kMode3Crtc.begin(), kMode3Crtc.end(), crtc_.begin());
    sequencer_ = {3, 0, 3, 0, 2};
    graphics_ = {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff};
    attribute_ = {};
    for (u8 i = 0; i < 16; ++i) attribute_[i] = i;
    palette_ = {};
    crtc_index_ = sequencer_index_ = graphics_index_ = attribute_index_ = feature_ = dac_state_ = 0;
    misc_ = 0x67;
    dac_mask_ = 0xff;
    dac_read_ = dac_write_ = 0;
    attribute_data_next_ = used_ = false;
}

unsigned VgaText::start_address() const { return (unsigned{crtc_[kCrtcStartHigh]} << 8 | crtc_[kCrtcStartLow]) * 2; }

VgaText::Cell VgaText::cell(unsigned row, unsigned column) const {
    // Text memory is 32 KiB and wraps.
    const u64 at = (start_address() + (u64{row} * kColumns + column) * 2) % 0x8000;
    return {memory_[kTextOffset + at], memory_[kTextOffset + at + 1]};
}

VgaText::Cursor VgaText::cursor() const {
    const unsigned at = (unsigned{crtc_[kCrtcCursorHigh]} << 8 | crtc_[kCrtcCursorLow]) - start_address() / 2;
    if (at >= kColumns * kRows) return {};
    return {.row = at / kColumns, .column = at % kColumns, .visible = (crtc_[kCrtcCursorStart] & 0x20) == 0};
}

Screen VgaText::screen() const {
    Screen s;
    s.kind = Screen::Kind::Text;
    s.width = 9 * kColumns;
    s.height = 16 * kRows;
    s.columns = kColumns;
    s.rows = kRows;
    s.blinks = true;
    for (unsigned row = 0; row < kRows; ++row) {
        for (unsigned column = 0; column < kColumns; ++column) s.cells.push_back(cell(row, column));
    }
    s.cursor = cursor();
    return s;
}

u8 VgaText::read_port(unsigned port) {
    switch (port) {
        case kAttribute: return attribute_index_;
        case kAttributeRead: return attribute_[attribute_index_ & 0x1f];
        case kMiscWrite: return 0x10;  // input status 0: a display is connected
        case kSequencerIndex: return sequencer_index_;
        case kSequencerData: return sequencer_[sequencer_index_ & 7];
        case kDacMask: return dac_mask_;
        case kDacReadIndex: return dac_state_;
        case kDacWriteIndex: return static_cast<u8>(dac_write_ / 3);
        case kDacData: {
            const u8 value = palette_[dac_read_];
            dac_read_ = static_cast<u16>((dac_read_ + 1) % palette_.size());
            return value;
        }
        case kFeatureRead: return feature_;
        case kMiscRead: return misc_;
        case kGraphicsIndex: return graphics_index_;
        case kGraphicsData: return graphics_[graphics_index_ & 0xf];
        case kCrtcIndex: return crtc_index_;
        case kCrtcData: return crtc_[crtc_index_];
        case kStatus: {
            attribute_data_next_ = false;
            // 70 frames a second with 400 of 449 lines shown; a line takes 31.8 microseconds, a fifth of it retrace.
            const Nanoseconds in_frame = clock_.now() % 14'268'000, line = 31'777;
            const bool vertical = in_frame >= 400 * line, blank = vertical || in_frame % line >= 25'400;
            return static_cast<u8>((blank ? 1 : 0) | (vertical ? 8 : 0));
        }
        default: return 0xff;
    }
}

void VgaText::write_port(unsigned port, u8 value) {
    switch (port) {
        case kAttribute:
            if (attribute_data_next_) {
                attribute_[attribute_index_ & 0x1f] = value;
            } else {
                attribute_index_ = value;
            }
            attribute_data_next_ = !attribute_data_next_;
            break;
        case kMiscWrite: misc_ = value; break;
        case kSequencerIndex: sequencer_index_ = value; break;
        case kSequencerData: sequencer_[sequencer_index_ & 7] = value; break;
        case kDacMask: dac_mask_ = value; break;
        case kDacReadIndex:
            dac_read_ = static_cast<u16>(value * 3);
            dac_state_ = 3;
            break;
        case kDacWriteIndex:
            dac_write_ = static_cast<u16>(value * 3);
            dac_state_ = 0;
            break;
        case kDacData:
            palette_[dac_write_] = value & 0x3f;
            dac_write_ = static_cast<u16>((dac_write_ + 1) % palette_.size());
            break;
        case kGraphicsIndex: graphics_index_ = value; break;
        case kGraphicsData: graphics_[graphics_index_ & 0xf] = value; break;
        case kCrtcIndex: crtc_index_ = value; break;
        case kCrtcData: write_crtc(value); break;
        case kStatus: feature_ = value; break;
        default: break;
    }
}

// Bit 7 of register 11h protects registers 0-7 but for bit 4 of 7 (line compare).
void VgaText::write_crtc(u8 value) {
    u8& to = crtc_[crtc_index_];
    if ((crtc_[kCrtcProtect] & 0x80) == 0 || crtc_index_ > kCrtcOverflow) {
        to = value;
    } else if (crtc_index_ == kCrtcOverflow) {
        to = static_cast<u8>((to & ~0x10) | (value & 0x10));
    }
}

// With misc bit 0 clear, a monochrome set-up, 3Bxh stand for 3Dxh.
unsigned VgaText::port_of(u64 offset) const {
    const auto port = static_cast<unsigned>(offset - kPortsOffset + kPorts);
    return port < 0x3c0 && (misc_ & 1) == 0 ? port + 0x20 : port;
}

u64 VgaText::read(u64 offset, unsigned size) {
    return read_by_bytes(offset, size, [this](u64 at) -> u8 {
        if (at < kWindowSize) return memory_[at];
        return at >= kPortsOffset ? read_port(port_of(at)) : 0xff;
    });
}

void VgaText::write(u64 offset, unsigned size, u64 value) {
    write_by_bytes(offset, size, value, [this](u64 at, u8 byte) {
        if (at < kWindowSize) {
            memory_[at] = byte;
            used_ = used_ || at >= kTextOffset;
        } else if (at >= kPortsOffset) {
            write_port(port_of(at), byte);
        }
    });
}

void VgaText::save(ArchiveWriter& out) const {
    out.tag("VGA ", 1);
    out.put_bytes(memory_.data(), memory_.size());
    out.put_bytes(crtc_.data(), crtc_.size());
    out.put_bytes(sequencer_.data(), sequencer_.size());
    out.put_bytes(graphics_.data(), graphics_.size());
    out.put_bytes(attribute_.data(), attribute_.size());
    out.put_bytes(palette_.data(), palette_.size());
    for (u8 v :
         {crtc_index_, sequencer_index_, graphics_index_, attribute_index_, misc_, feature_, dac_mask_, dac_state_}) {
        out.put(v);
    }
    out.put(dac_read_);
    out.put(dac_write_);
    out.put(static_cast<u8>(attribute_data_next_));
    out.put(static_cast<u8>(used_));
}

void VgaText::load(ArchiveReader& in) {
    in.expect("VGA ", 1);
    in.get_bytes(memory_.data(), memory_.size());
    in.get_bytes(crtc_.data(), crtc_.size());
    in.get_bytes(sequencer_.data(), sequencer_.size());
    in.get_bytes(graphics_.data(), graphics_.size());
    in.get_bytes(attribute_.data(), attribute_.size());
    in.get_bytes(palette_.data(), palette_.size());
    for (u8* v : {&crtc_index_, &sequencer_index_, &graphics_index_, &attribute_index_, &misc_, &feature_, &dac_mask_,
                  &dac_state_}) {
        in.get(*v);
    }
    in.get(dac_read_);
    in.get(dac_write_);
    attribute_data_next_ = in.get<u8>() != 0;
    used_ = in.get<u8>() != 0;
    if (dac_read_ >= palette_.size() || dac_write_ >= palette_.size()) in.set_bad();
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices
