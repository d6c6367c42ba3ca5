#include "dualvm/devices/vga.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "byte_ports.h"

namespace dualvm::devices {

namespace {

constexpr PciIdentity kIdentity = {.vendor = 0x1234,
                                   .device = 0x1111,
                                   .class_code = 0x030000,
                                   .revision = 2,
                                   .subsystem_vendor = 0x1af4,
                                   .subsystem = 0x1100};
constexpr u64 kTextOffset = 0x18000;  // B8000h within the window
constexpr unsigned kTextCells = 0x4000, kFontBytes = 256 * 16;

// BAR 2: VGA's ports from 3C0h on, VBE's registers, and QEMU's extension.
enum : u64 {
    kRegistersSize = 0x1000,
    kPortsInBar = 0x400,
    kPortsInBarSize = 0x20,
    kVbeInBar = 0x500,
    kVbeInBarSize = 2 * (Dispi::kRegisters + 1),
    kExtension = 0x600,
    kExtensionSize = 8
};
constexpr u64 kExtensionValue = u64{0x1e1e1e1e} << 32 | kExtensionSize;  // its size, and "little-endian"

bool is_zero(const u8* page) { return page[0] == 0 && std::memcmp(page, page + 1, kPageSize - 1) == 0; }

}  // namespace

Expected<std::unique_ptr<Vga>> Vga::create(Machine& machine, AfterReset after_reset, u64 memory_size) {
    constexpr u64 kSmallest = u64{256} << 10, kLargest = u64{256} << 20;
    if (!std::has_single_bit(memory_size) || memory_size < kSmallest || memory_size > kLargest) {
        return fail(ExitStatus::BadImage, "video memory must be a power of two from 256 KiB to 256 MiB");
    }
    const auto memory = machine.vmem().add_device_memory(memory_size);
    if (!memory) return tl::unexpected(memory.error());
    return std::unique_ptr<Vga>(new Vga(machine, after_reset, *memory));
}

Vga::Vga(Machine& machine, AfterReset after_reset, std::size_t memory)
    : PciFunction(kIdentity),
      machine_(machine),
      after_reset_(after_reset),
      memory_number_(memory),
      dispi_(machine.vmem().device_memory(memory).size()),
      memory_(registers_, machine.vmem().device_memory(memory)),
      renderer_(registers_, dispi_, memory_.bytes()),
      not_posted_(*this) {
    define(pci::kCommand, 2, pci::kDecodePorts, pci::kDecodePorts | pci::kBusMaster);
    add_bar(kFrameBufferBar, {.kind = PciBar::Kind::Memory,
                              .size = static_cast<u32>(memory_.bytes().size()),
                              .device = &not_posted_,
                              .device_offset = kFrameBufferOffset,
                              .prefetchable = true});
    add_bar(kRegistersBar, {.kind = PciBar::Kind::Memory,
                            .size = kRegistersSize,
                            .device = &not_posted_,
                            .device_offset = kRegistersOffset});
    Vga::reset();
}

void Vga::set_font(std::span<const u8> font) {
    font_.assign(font.begin(),
                 font.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(font.size(), kFontBytes)));
    font_.resize(kFontBytes);
    if (after_reset_ == AfterReset::Text) begin_in_text_mode();
}

void Vga::clear_memory() { machine_.vmem().clear_device_memory(memory_number_); }

void Vga::begin_in_text_mode() {
    registers_.enter_text_mode();
    const std::span<u8> bytes = memory_.bytes();
    for (unsigned cell = 0; cell < kTextCells; ++cell) {
        bytes[4 * std::size_t{cell}] = ' ';
        bytes[4 * std::size_t{cell} + 1] = 7;
    }
    // Plane 2 has 32 bytes for each character.
    for (std::size_t i = 0; i < font_.size(); ++i) bytes[(i / 16 * 32 + i % 16) * 4 + 2] = font_[i];
    registers_changed();
}

void Vga::reset() {
    reset_config();
    registers_.reset();
    dispi_.reset();
    clear_memory();
    memory_.set_latches(0);
    used_ = false;
    if (after_reset_ == AfterReset::Text) begin_in_text_mode();
    registers_changed();
    machine_.vio().mmio().posting_changed();
}

// The frame buffer is MMIO of this device as long as nothing better is there: what vMEM does not map (because RAM is in
// the way, say) is answered byte by byte.
void Vga::bar_moved(unsigned index, std::optional<u64> at) {
    if (index == kFrameBufferBar) machine_.vmem().place_device_memory(memory_number_, at);
}

void Vga::write_dispi(u16 index, u16 value) {
    const Dispi::Effect effect = dispi_.write(index, value);
    if (effect.clear) {
        std::memset(memory_.bytes().data(), 0,
                    std::min<u64>(u64{dispi_.height()} * dispi_.pitch(), memory_.bytes().size()));
    }
    if (effect.mode_changed) {
        registers_.enter_vbe_mode(dispi_.width(), dispi_.height(), dispi_.bits(), dispi_.pitch());
        used_ = true;
    }
    if (!effect.mode_changed && !effect.other) return;
    registers_.dac().set_eight_bits(dispi_.eight_bit_dac());
    registers_changed();
    machine_.vio().mmio().posting_changed();
}

u16 Vga::read_vbe(u64 offset) const { return offset == 0 ? dispi_.index() : dispi_.read(dispi_.index()); }

void Vga::write_vbe(u64 offset, u16 value) {
    if (offset == 0) {
        dispi_.select(value);
    } else {
        write_dispi(dispi_.index(), value);
    }
}

u64 Vga::read_registers(u64 offset, unsigned size) {
    if (offset >= kPortsInBar && offset - kPortsInBar < kPortsInBarSize) {
        return read_by_bytes(offset, size, [this](u64 at) {
            return registers_.read(static_cast<unsigned>(at - kPortsInBar + 0x3c0), machine_.clock().now());
        });
    }
    u64 value = 0;
    if (offset >= kVbeInBar && offset - kVbeInBar < kVbeInBarSize) {
        for (unsigned i = 0; i < size; i += 2) {
            value |= u64{dispi_.read(static_cast<u16>((offset - kVbeInBar + i) / 2))} << (8 * i);
        }
        return value >> (size == 1 ? 8 * (offset & 1) : 0);
    }
    if (offset >= kExtension && offset - kExtension < kExtensionSize) {
        return kExtensionValue >> (8 * (offset - kExtension));
    }
    return 0;
}

void Vga::write_registers(u64 offset, unsigned size, u64 value) {
    if (offset >= kPortsInBar && offset - kPortsInBar < kPortsInBarSize) {
        write_by_bytes(offset, size, value, [this](u64 at, u8 byte) {
            registers_.write(static_cast<unsigned>(at - kPortsInBar + 0x3c0), byte);
        });
        registers_changed();
    } else if (offset >= kVbeInBar && offset - kVbeInBar < kVbeInBarSize && size != 1) {
        for (unsigned i = 0; i < size; i += 2) {
            write_dispi(static_cast<u16>((offset - kVbeInBar + i) / 2), static_cast<u16>(value >> (8 * i)));
        }
    }
}

u64 Vga::read(u64 offset, unsigned size) {
    if (offset < kWindowSize) return memory_.read(offset, size);
    if (offset >= kFrameBufferOffset) {
        const auto bytes = memory_.bytes();
        return read_by_bytes(offset - kFrameBufferOffset, size,
                             [bytes](u64 at) { return bytes[at & (bytes.size() - 1)]; });
    }
    if (offset >= kRegistersOffset) return read_registers(offset - kRegistersOffset, size);
    if (offset >= kVbeOffset) {
        if (size == 1) return 0xff;
        return read_vbe(offset - kVbeOffset) | (size == 4 ? u64{read_vbe(2)} << 16 : 0);
    }
    return read_by_bytes(offset, size, [this](u64 at) {
        return registers_.read(static_cast<unsigned>(at - kPortsOffset + kPorts), machine_.clock().now());
    });
}

void Vga::write(u64 offset, unsigned size, u64 value) {
    if (offset < kWindowSize) {
        memory_.write(offset, size, value);
        used_ = used_ || offset >= kTextOffset;
    } else if (offset >= kFrameBufferOffset) {
        write_by_bytes(offset - kFrameBufferOffset, size, value,
                       [bytes = memory_.bytes()](u64 at, u8 byte) { bytes[at & (bytes.size() - 1)] = byte; });
    } else if (offset >= kRegistersOffset) {
        write_registers(offset - kRegistersOffset, size, value);
    } else if (offset >= kVbeOffset) {
        if (size == 1) return;
        write_vbe(offset - kVbeOffset, static_cast<u16>(value));
        if (size == 4) write_vbe(2, static_cast<u16>(value >> 16));
    } else {
        write_by_bytes(offset, size, value, [this](u64 at, u8 byte) {
            registers_.write(static_cast<unsigned>(at - kPortsOffset + kPorts), byte);
        });
        registers_changed();
    }
}

// Of the memory only pages that are not zero.
void Vga::save(ArchiveWriter& out) const {
    out.tag("VGA ", 2);
    save_config(out);
    registers_.save(out);
    dispi_.save(out);
    out.put(memory_.latches());
    out.put(u8{used_});
    const std::span<const u8> bytes = memory_.bytes();
    std::vector<u32> pages;
    for (u64 page = 0; page < bytes.size() / kPageSize; ++page) {
        if (!is_zero(&bytes[page * kPageSize])) pages.push_back(static_cast<u32>(page));
    }
    out.put(static_cast<u32>(pages.size()));
    for (u32 page : pages) {
        out.put(page);
        out.put_bytes(&bytes[page * kPageSize], kPageSize);
    }
}

void Vga::load(ArchiveReader& in) {
    in.expect("VGA ", 2);
    load_config(in);
    registers_.load(in);
    dispi_.load(in);
    memory_.set_latches(in.get<u32>());
    used_ = in.get<u8>() != 0;
    clear_memory();
    const std::span<u8> bytes = memory_.bytes();
    u64 next = 0;  // pages come in order
    for (u32 left = in.get<u32>(); left != 0 && in.ok(); --left) {
        const u64 page = in.get<u32>();
        if (page < next || page >= bytes.size() / kPageSize) {
            in.set_bad();
            break;
        }
        in.get_bytes(&bytes[page * kPageSize], kPageSize);
        next = page + 1;
    }
    if (!in.ok()) {
        reset();
        return;
    }
    registers_changed();
    machine_.vio().mmio().posting_changed();
}

}  // namespace dualvm::devices
