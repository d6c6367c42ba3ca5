#include "probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "big_endian.h"
#include "dualvm/storage/image.h"

namespace dualvm::storage {

namespace {

struct Magic {
    std::size_t at;
    std::string_view bytes;
    const char* name;
};
constexpr Magic kForeign[] = {
    {0, "KDMV", "VMDK"},
    {0, "# Disk DescriptorFile", "VMDK"},
    {0, "vhdxfile", "VHDX"},
    {0, "conectix", "VHD"},
    {0x40, "\x7f\x10\xda\xbe", "VDI"},
    {0, std::string_view("QED\0", 4), "QED"},
    {0, "WithoutFreeSpace", "Parallels"},
    {0, "WithouFreSpacExt", "Parallels"},
};
constexpr u32 kQcowMagic = 0x514649fb;  // "QFI\xfb"

}  // namespace

Looks looks_like(std::span<const u8> bytes, const char** name) {
    if (bytes.size() >= 8 && load_be32(bytes.data()) == kQcowMagic) {
        // Later versions too: their header says best what they are.
        return load_be32(bytes.data() + 4) == 1 ? Looks::Qcow : Looks::Qcow2;
    }
    for (const Magic& magic : kForeign) {
        if (bytes.size() < magic.at + magic.bytes.size()) continue;
        if (!std::equal(magic.bytes.begin(), magic.bytes.end(), bytes.begin() + static_cast<std::ptrdiff_t>(magic.at),
                        [](char a, u8 b) { return static_cast<u8>(a) == b; })) {
            continue;
        }
        if (name != nullptr) *name = magic.name;
        return Looks::Foreign;
    }
    return Looks::Raw;
}

Expected<Format> probe_format(File& file) {
    std::array<u8, kProbeBytes> bytes{};
    if (auto read = file.read(0, bytes); !read) return tl::unexpected(read.error());
    const char* name = "";
    switch (looks_like(bytes, &name)) {
        case Looks::Qcow: return Format::Qcow;
        case Looks::Qcow2: return Format::Qcow2;
        case Looks::Raw: return Format::Raw;
        case Looks::Foreign: break;
    }
    return fail(ExitStatus::BadImage,
                fmt::format("{0} looks like a {1} image, which dualvm does not read; make one of it that dualvm does "
                            "(qemu-img convert -O qcow2 {0} NEW), or say that its format is raw",
                            file.name(), name));
}

}  // namespace dualvm::storage
