#include "linux_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "little_endian.h"
#include "loaders.h"

namespace dualvm::boot {

namespace {

using namespace setup_header;

constexpr u16 kBootFlagValue = 0xaa55;
constexpr u32 kMagicValue = 0x53726448;  // "HdrS"
constexpr u8 kLoadedHigh = 1u << 0;      // loadflags
constexpr u16 kKernel64 = 1u << 0;       // xloadflags: XLF_KERNEL_64
constexpr u16 kOldestVersion = 0x0202;   // the first that takes its command line by pointer
constexpr u64 kSectorSize = 512, kParagraph = 16;
// Before protocol 2.03 said so (boot.rst, "initrd_addr_max").
constexpr u64 kOldInitrdAddressMax = 0x37ffffff;
constexpr u64 kOldCommandLineMax = 255;

// Where the header must reach to at least, by version: the end of the last field that came with it.
struct HeaderEnd {
    u16 version;
    u64 end;
};
constexpr std::array<HeaderEnd, 9> kHeaderEnds = {{{0x0202, 0x22c},
                                                   {0x0203, 0x230},
                                                   {0x0205, 0x235},
                                                   {0x0206, 0x23c},
                                                   {0x0207, 0x248},
                                                   {0x0208, 0x250},
                                                   {0x0209, 0x258},
                                                   {0x020a, 0x264},
                                                   {0x020b, 0x268}}};

}  // namespace

bool is_linux(std::span<const u8> kernel) {
    return load<u16>(kernel, kBootFlag) == kBootFlagValue && load<u32>(kernel, kMagic) == kMagicValue;
}

Expected<LinuxHeader> parse_linux_header(const std::string& name, std::span<const u8> kernel) {
    constexpr const char* kDamaged = "the file is damaged or cut off: build or copy it again";
    if (!is_linux(kernel)) {
        return bad_image(name, "it is not a Linux kernel with a setup header (AA55h at 1FEh, \"HdrS\" at 202h)",
                         "give a bzImage: zImage and Image of kernels before 1.3.73 cannot be loaded");
    }
    LinuxHeader header;
    const auto version = load<u16>(kernel, kVersion);
    const auto jump = load<u16>(kernel, kJump);
    if (!version) return bad_image(name, "its Linux setup header is cut off", kDamaged);
    header.version = *version;
    if (header.version < kOldestVersion) {
        return bad_image(
            name,
            fmt::format("its Linux boot protocol {}.{:02} is too old", header.version >> 8, header.version & 0xff),
            "2.02 (Linux 2.4.0) is the oldest that dualvm loads");
    }
    // The jump over the header tells where it ends: EBh and the distance from 202h on.
    if ((*jump & 0xff) != 0xeb) return bad_image(name, "its Linux setup header does not start with a jump", kDamaged);
    header.header_end = std::min(kMagic + (*jump >> 8), kEndOfSpace);
    for (const HeaderEnd& needed : kHeaderEnds) {
        if (header.version < needed.version) break;
        if (header.header_end < needed.end || kernel.size() < needed.end) {
            return bad_image(name,
                             fmt::format("its Linux setup header ends at {:#x}, before the fields of protocol "
                                         "{}.{:02}",
                                         std::min<u64>(header.header_end, kernel.size()), header.version >> 8,
                                         header.version & 0xff),
                             kDamaged);
        }
    }
    header.header_end = std::min<u64>(header.header_end, kernel.size());
    // From here on all fields of this version are inside the file.
    const u16 v = header.version;
    if ((*load<u8>(kernel, kLoadFlags) & kLoadedHigh) == 0) {
        return bad_image(name, "it is a zImage (it wants to be loaded below 640 KiB)", "build a bzImage");
    }
    const u64 sectors = *load<u8>(kernel, kSetupSectors);
    const u64 payload_at = ((sectors == 0 ? 4 : sectors) + 1) * kSectorSize;
    if (payload_at >= kernel.size()) {
        return bad_image(
            name,
            fmt::format("its {} setup sectors leave nothing of its {} bytes for the kernel", sectors, kernel.size()),
            kDamaged);
    }
    header.payload = kernel.subspan(payload_at);
    if (v >= 0x0204) {  // before, the field is too short to be believed
        const u64 size = u64{*load<u32>(kernel, kSysSize)} * kParagraph;
        // The size is rounded up to paragraphs, and not every build pads its file to it.
        if (size == 0 || size >= header.payload.size() + kParagraph) {
            return bad_image(
                name,
                fmt::format("its header promises {} bytes of kernel and {} are there", size, header.payload.size()),
                kDamaged);
        }
        header.payload = header.payload.first(std::min<u64>(size, header.payload.size()));  // signatures may follow
    }
    header.initrd_address_max = v >= 0x0203 ? *load<u32>(kernel, kInitrdAddressMax) : kOldInitrdAddressMax;
    header.command_line_max = v >= 0x0206 ? *load<u32>(kernel, kCommandLineSize) : kOldCommandLineMax;
    header.has_64bit_entry = v >= 0x020c && (*load<u16>(kernel, kXLoadFlags) & kKernel64) != 0;
    if (v >= 0x0205 && *load<u8>(kernel, kRelocatable) != 0) {
        header.relocatable = true;
        header.alignment = *load<u32>(kernel, kKernelAlignment);
        if (!std::has_single_bit(header.alignment)) {
            return bad_image(name, fmt::format("its kernel_alignment {:#x} is not a power of two", header.alignment),
                             kDamaged);
        }
    }
    header.preferred_address = kExtendedMemory;
    header.init_size = header.payload.size();
    if (v >= 0x020a) {
        const u64 preferred = *load<u64>(kernel, kPreferredAddress);
        if (preferred != 0) header.preferred_address = preferred;
        if (preferred != 0 && preferred < kExtendedMemory && !header.relocatable) {
            return bad_image(name, fmt::format("it wants to run at {:#x}, below 1 MiB", preferred), kDamaged);
        }
        header.preferred_address = std::max(header.preferred_address, kExtendedMemory);
        header.init_size = std::max<u64>(header.init_size, *load<u32>(kernel, kInitSize));
    }
    return header;
}

}  // namespace dualvm::boot
