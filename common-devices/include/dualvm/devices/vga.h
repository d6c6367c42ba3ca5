// The graphics adapter: a VGA with the VBE registers and the PCI function of QEMU's "-vga std" (qemu:
// docs/specs/standard-vga.txt). The guest reaches its memory through VGA's window at A0000h, which is MMIO, and in BAR
// 0 as a linear frame buffer, which is memory that engines map (docs/decisions/0021).
#pragma once

#include "dualvm/devices/pci.h"
#include "dualvm/devices/vga_memory.h"
#include "dualvm/devices/vga_renderer.h"
#include "dualvm/machine.h"

namespace dualvm::devices {

class Vga final : public Device, public PciFunction {
public:
    static constexpr u64 kWindow = 0xa0000, kWindowSize = VgaMemory::kWindowSize;
    static constexpr u64 kPorts = VgaRegisters::kFirstPort, kPortsSize = VgaRegisters::kPortCount;
    static constexpr u64 kVbePorts = 0x1ce, kVbePortsSize = 4;
    // Offsets: the window from 0, the ports from kPortsOffset. What is not posted() has its own.
    static constexpr u64 kPortsOffset = 0x100000;
    static constexpr u64 kVbeOffset = 0x200000, kRegistersOffset = 0x300000, kFrameBufferOffset = 0x10000000;
    static constexpr u64 kUsualMemory = u64{16} << 20;
    static constexpr unsigned kFrameBufferBar = 0, kRegistersBar = 2;

    // How a PC without firmware begins: in text mode 3, as the BIOS leaves it.
    enum class AfterReset : u8 { Nothing, Text };
    // `memory_size`: a power of two, 256 KiB to 256 MiB. The machine must outlive it.
    static Expected<std::unique_ptr<Vga>> create(Machine& machine, AfterReset after_reset, u64 memory_size);

    // For AfterReset::Text: 16 bytes for each of 256 characters, a line of 8 dots each.
    void set_font(std::span<const u8> font);

    Screen screen() const { return renderer_.screen(); }
    Picture picture(BlinkPhase phase = {}) const { return renderer_.picture(phase); }
    std::string text() const { return screen().text(); }
    // True once the guest has written to text memory or set a VBE mode.
    bool used() const { return used_; }

    // The same device for ranges whose writes must not be late: VBE's registers and the BARs.
    Device& not_posted() { return not_posted_; }

    const char* name() const override { return "vga"; }
    // Where the window's memory is in use as a frame buffer, an access there must find what was written here.
    bool posted_writes() const override { return !dispi_.on(); }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    class NotPosted final : public Device {
    public:
        explicit NotPosted(Vga& vga) : vga_(vga) {}
        const char* name() const override { return vga_.name(); }
        u64 read(u64 offset, unsigned size) override { return vga_.read(offset, size); }
        void write(u64 offset, unsigned size, u64 value) override { vga_.write(offset, size, value); }
        void reset() override {}
        void save(ArchiveWriter&) const override {}
        void load(ArchiveReader&) override {}

    private:
        Vga& vga_;
    };

    Vga(Machine& machine, AfterReset after_reset, std::size_t memory);
    void bar_moved(unsigned index, std::optional<u64> at) override;
    u16 read_vbe(u64 offset) const;
    void write_vbe(u64 offset, u16 value);
    void write_dispi(u16 index, u16 value);
    u64 read_registers(u64 offset, unsigned size);
    void write_registers(u64 offset, unsigned size, u64 value);
    void registers_changed() { memory_.configure(dispi_.bank_offset(), dispi_.on()); }
    void clear_memory();
    void begin_in_text_mode();

    Machine& machine_;
    AfterReset after_reset_;
    std::size_t memory_number_;  // vMEM's number for it
    VgaRegisters registers_;
    Dispi dispi_;
    VgaMemory memory_;
    VgaRenderer renderer_;
    NotPosted not_posted_;
    std::vector<u8> font_;
    bool used_ = false;
};

}  // namespace dualvm::devices
