// VGA in text mode (IBM VGA technical reference): 32 KiB of characters and attributes at B8000h, and the registers that
// text guests touch. Graphics modes come with a later device; the register file is kept whole for them.
#pragma once

#include <array>
#include <vector>

#include "dualvm/clock.h"
#include "dualvm/devices/screen.h"
#include "dualvm/vio.h"

namespace dualvm::devices {

class VgaText final : public Device {
public:
    static constexpr u64 kWindow = 0xa0000, kWindowSize = 0x20000;  // A0000h-BFFFFh, MMIO
    static constexpr u64 kPorts = 0x3b0, kPortsSize = 0x30;         // 3B0h-3DFh
    // Offsets: the window from 0, the ports from kPortsOffset.
    static constexpr u64 kPortsOffset = 0x100000;
    static constexpr unsigned kColumns = 80, kRows = 25;

    explicit VgaText(Clock& clock);

    using Cell = Screen::Cell;
    using Cursor = Screen::Cursor;
    Cell cell(unsigned row, unsigned column) const;
    Cursor cursor() const;
    Screen screen() const;
    std::string text() const { return screen().text(); }
    // True once the guest has written to text memory.
    bool used() const { return used_; }

    const char* name() const override { return "vga"; }
    bool posted_writes() const override { return true; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    static constexpr u64 kTextOffset = 0x18000;  // B8000h within the window
    unsigned port_of(u64 offset) const;
    u8 read_port(unsigned port);
    void write_port(unsigned port, u8 value);
    void write_crtc(u8 value);
    unsigned start_address() const;  // in bytes from B8000h

    Clock& clock_;
    std::vector<u8> memory_;  // the whole window
    std::array<u8, 256> crtc_{};
    std::array<u8, 8> sequencer_{};
    std::array<u8, 16> graphics_{};
    std::array<u8, 32> attribute_{};
    std::array<u8, 768> palette_{};
    u8 crtc_index_ = 0, sequencer_index_ = 0, graphics_index_ = 0, attribute_index_ = 0, misc_ = 0x67, feature_ = 0;
    u8 dac_mask_ = 0xff, dac_state_ = 0;
    u16 dac_read_ = 0, dac_write_ = 0;
    bool attribute_data_next_ = false, used_ = false;
};

}  // namespace dualvm::devices
