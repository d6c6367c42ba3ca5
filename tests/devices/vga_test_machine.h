// A graphics adapter with memory of its own, driven by ports and window as a guest would.
#pragma once

#include "device_test.h"
#include "dualvm/devices/vga.h"

namespace dualvm::devices {

class VgaTest : public testing::Test {
protected:
    static constexpr u64 kText = 0x18000;  // B8000h in the window

    static std::unique_ptr<Vga> make(Machine& machine, Vga::AfterReset after = Vga::AfterReset::Text,
                                     u64 memory = u64{1} << 20) {
        return *Vga::create(machine, after, memory);
    }
    u8 in(unsigned port) { return static_cast<u8>(vga->read(Vga::kPortsOffset + port - Vga::kPorts, 1)); }
    void out(unsigned port, unsigned value) { vga->write(Vga::kPortsOffset + port - Vga::kPorts, 1, value); }
    void indexed(unsigned port, unsigned index, unsigned value) {
        out(port, index);
        out(port + 1, value);
    }
    void sequencer(unsigned index, unsigned value) { indexed(0x3c4, index, value); }
    void graphics(unsigned index, unsigned value) { indexed(0x3ce, index, value); }
    void crtc(unsigned index, unsigned value) { indexed(0x3d4, index, value); }
    void attribute(unsigned index, unsigned value) {
        in(0x3da);
        out(0x3c0, index);
        out(0x3c0, value);
        out(0x3c0, 0x20);  // the screen stays on
    }
    void colour(unsigned index, unsigned red, unsigned green, unsigned blue) {
        out(0x3c8, index);
        for (unsigned v : {red, green, blue}) out(0x3c9, v);
    }
    void vbe(unsigned index, unsigned value) {
        vga->write(Vga::kVbeOffset, 2, index);
        vga->write(Vga::kVbeOffset + 1, 2, value);
    }
    unsigned vbe(unsigned index) {
        vga->write(Vga::kVbeOffset, 2, index);
        return static_cast<unsigned>(vga->read(Vga::kVbeOffset + 1, 2));
    }
    void vbe_mode(unsigned width, unsigned height, unsigned bits, unsigned flags = 0) {
        vbe(Dispi::kEnable, 0);
        vbe(Dispi::kWidth, width);
        vbe(Dispi::kHeight, height);
        vbe(Dispi::kBits, bits);
        vbe(Dispi::kEnable, Dispi::kOn | flags);
    }
    // Through the linear frame buffer, wherever it is.
    void linear(u64 at, unsigned size, u64 value) { vga->write(Vga::kFrameBufferOffset + at, size, value); }
    u64 linear(u64 at, unsigned size) { return vga->read(Vga::kFrameBufferOffset + at, size); }
    void print(unsigned row, unsigned column, std::string_view text, u8 with = 7) {
        for (char c : text) {
            const u64 at = kText + (u64{row} * 80 + column++) * 2;
            vga->write(at, 2, static_cast<u64>(with << 8 | static_cast<u8>(c)));
        }
    }
    // Write-protection of the CRT controller's first registers off, and the registers that modes share.
    void mode(std::initializer_list<std::pair<unsigned, unsigned>> crtc_values) {
        crtc(0x11, 0x0e);
        for (const auto& [index, value] : crtc_values) crtc(index, value);
    }
    void mode_13h() {
        mode({{1, 0x4f}, {7, 0x1f}, {9, 0x41}, {0x12, 0x8f}, {0x13, 0x28}, {0x14, 0x40}, {0x17, 0xa3}});
        sequencer(1, 1);
        sequencer(2, 0xf);
        sequencer(4, 0xe);
        graphics(5, 0x40);
        graphics(6, 5);
    }
    void mode_12h() {
        mode({{1, 0x4f}, {7, 0x3e}, {9, 0x40}, {0x12, 0xdf}, {0x13, 0x28}, {0x14, 0}, {0x17, 0xe3}});
        sequencer(1, 1);
        sequencer(2, 0xf);
        sequencer(4, 6);
        graphics(5, 0);
        graphics(6, 5);
    }

    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 1});
    std::unique_ptr<Vga> vga = make(*machine);
};

inline Rgb pixel(const Picture& picture, unsigned x, unsigned y) {
    const u8* p = &picture.rgb[(std::size_t{y} * picture.width + x) * 3];
    return {p[0], p[1], p[2]};
}

inline void PrintTo(const Rgb& c, std::ostream* out) { *out << +c.red << ',' << +c.green << ',' << +c.blue; }

}  // namespace dualvm::devices
