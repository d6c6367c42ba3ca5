// Guest images built in memory, so that each test can break exactly one thing.
#pragma once

#include <string>
#include <vector>

#include "dualvm/boot/boot.h"
#include "dualvm/boot/memory_map.h"

namespace dualvm::boot {

using Bytes = std::vector<u8>;

// Grows as needed; little-endian, like everything a loader reads.
template <class T>
void put(Bytes& bytes, u64 offset, T value) {
    if (bytes.size() < offset + sizeof value) bytes.resize(offset + sizeof value);
    for (std::size_t i = 0; i < sizeof value; ++i) {
        bytes[offset + i] = static_cast<u8>(static_cast<u64>(value) >> (8 * i));
    }
}

struct SegmentSpec {
    u32 type = 1;  // PT_LOAD
    u64 offset = 0, virtual_address = 0, physical_address = 0, file_size = 0, memory_size = 0, alignment = 4;
};

inline Bytes make_elf32(u32 entry, const std::vector<SegmentSpec>& segments, u64 file_size = 0x3000) {
    Bytes elf(file_size);
    put(elf, 0, 0x464c457fu);
    put(elf, 4, u8{1});    // ELFCLASS32
    put(elf, 5, u8{1});    // little-endian
    put(elf, 6, u8{1});    // version
    put(elf, 16, u16{2});  // ET_EXEC
    put(elf, 18, u16{3});  // EM_386
    put(elf, 20, u32{1});
    put(elf, 24, entry);
    put(elf, 28, u32{52});
    put(elf, 40, u16{52});
    put(elf, 42, u16{32});
    put(elf, 44, static_cast<u16>(segments.size()));
    u64 at = 52;
    for (const SegmentSpec& s : segments) {
        for (u64 field : {u64{s.type}, s.offset, s.virtual_address, s.physical_address, s.file_size, s.memory_size,
                          u64{7}, s.alignment}) {
            put(elf, at, static_cast<u32>(field));
            at += 4;
        }
    }
    return elf;
}

inline Bytes make_elf64(u64 entry, const std::vector<SegmentSpec>& segments, u64 file_size = 0x3000) {
    Bytes elf(file_size);
    put(elf, 0, 0x464c457fu);
    put(elf, 4, u8{2});  // ELFCLASS64
    put(elf, 5, u8{1});
    put(elf, 6, u8{1});
    put(elf, 16, u16{2});
    put(elf, 18, u16{62});  // EM_X86_64
    put(elf, 20, u32{1});
    put(elf, 24, entry);
    put(elf, 32, u64{64});
    put(elf, 52, u16{64});
    put(elf, 54, u16{56});
    put(elf, 56, static_cast<u16>(segments.size()));
    u64 at = 64;
    for (const SegmentSpec& s : segments) {
        put(elf, at, s.type);
        put(elf, at + 4, u32{7});
        at += 8;
        for (u64 field : {s.offset, s.virtual_address, s.physical_address, s.file_size, s.memory_size, s.alignment}) {
            put(elf, at, field);
            at += 8;
        }
    }
    return elf;
}

inline void put_multiboot_header(Bytes& image, u64 offset, u32 flags) {
    put(image, offset, 0x1badb002u);
    put(image, offset + 4, flags);
    put(image, offset + 8, 0u - 0x1badb002u - flags);
}

// One segment at 1 MiB: 0x1000 bytes of file from offset 0x1000, 0x2000 bytes of memory; entry at 100010h.
inline Bytes make_multiboot_elf(u32 flags = 3) {
    Bytes image = make_elf32(0x100010, {{.offset = 0x1000,
                                         .virtual_address = 0x100000,
                                         .physical_address = 0x100000,
                                         .file_size = 0x1000,
                                         .memory_size = 0x2000}});
    put_multiboot_header(image, 0x1000, flags);
    put(image, 0x1ffc, 0x12345678u);
    return image;
}

// An ELF64 file with one segment at 1 MiB and, from 0x2000 of the file on, a note that names `entry` for PVH.
inline Bytes make_pvh_elf(u32 entry = 0x100030) {
    Bytes image = make_elf64(
        0xffffffff81000000, {{.offset = 0x1000,
                              .virtual_address = 0xffffffff81000000,
                              .physical_address = 0x100000,
                              .file_size = 0x1000,
                              .memory_size = 0x3000},
                             {.type = 4, .offset = 0x2000, .physical_address = 0, .file_size = 44, .memory_size = 44}});
    // Another owner's note first: 12 bytes of header, name "GNU", four bytes of contents.
    put(image, 0x2000, u32{4});
    put(image, 0x2004, u32{4});
    put(image, 0x2008, u32{18});
    put(image, 0x200c, 0x00554e47u);
    put(image, 0x2014, u32{4});
    put(image, 0x2018, u32{8});
    put(image, 0x201c, u32{18});
    put(image, 0x2020, 0x006e6558u);  // "Xen"
    put(image, 0x2024, u64{entry});
    return image;
}

struct BzImageSpec {
    u16 version = 0x20f;
    u8 setup_sectors = 1, load_flags = 1, relocatable = 1;
    u16 xload_flags = 1;
    u32 payload_paragraphs = 0x100;  // 4 KiB
    u32 alignment = 0x100000, command_line_size = 255, init_size = 0x8000, initrd_address_max = 0x7fffffff;
    u64 preferred_address = 0x200000;
};

// The payload's bytes are 0xcc.
inline Bytes make_bzimage(const BzImageSpec& spec = {}) {
    const u64 payload_at = (u64{spec.setup_sectors == 0 ? u8{4} : spec.setup_sectors} + 1) * 512;
    Bytes image(payload_at);
    image.resize(payload_at + 0x1000, 0xcc);
    put(image, 0x1f1, spec.setup_sectors);
    put(image, 0x1f4, spec.payload_paragraphs);
    put(image, 0x1fe, u16{0xaa55});
    put(image, 0x200, u16{0x6aeb});
    put(image, 0x202, 0x53726448u);
    put(image, 0x206, spec.version);
    put(image, 0x211, spec.load_flags);
    put(image, 0x22c, spec.initrd_address_max);
    put(image, 0x230, spec.alignment);
    put(image, 0x234, spec.relocatable);
    put(image, 0x236, spec.xload_flags);
    put(image, 0x238, spec.command_line_size);
    put(image, 0x258, spec.preferred_address);
    put(image, 0x260, spec.init_size);
    return image;
}

inline Bytes make_boot_sector(u64 sectors = 1) {
    Bytes image(sectors * 512, 0x90);
    put(image, 510, u16{0xaa55});
    return image;
}

// A machine with `mebibytes` of memory to load into.
inline std::unique_ptr<Machine> make_machine(u64 mebibytes = 16) {
    return *Machine::create({.memory_mebibytes = mebibytes});
}

template <class T>
T value_at(Machine& machine, u64 address) {
    T value{};
    machine.vmem().read_value(address, value);
    return value;
}

inline std::string string_at(Machine& machine, u64 address) {
    std::string text;
    for (char c = 0; machine.vmem().read_value(address, c) && c != 0; ++address) text += c;
    return text;
}

inline BootImage image_of(const Bytes& kernel, std::string append = {}) {
    return {
        .name = "guest.elf", .kernel = kernel, .modules = {}, .append = std::move(append), .protocol = Protocol::Auto};
}

// The text of the error that loading `kernel` gives; empty if it loads.
inline std::string error_of(const Bytes& kernel, u64 mebibytes = 16, Protocol protocol = Protocol::Auto) {
    auto machine = make_machine(mebibytes);
    BootImage image = image_of(kernel);
    image.protocol = protocol;
    auto report = boot_image(*machine, image);
    return report ? std::string() : report.error().text;
}

}  // namespace dualvm::boot
