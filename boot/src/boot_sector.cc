// A raw boot sector, started as a BIOS would: at 0000:7C00 in real mode, DL the number of the boot drive. No BIOS
// services are behind it: the interrupt vector table is zero. A file of several sectors is loaded whole, one after the
// other, so that a loader finds its second stage at 7E00h without asking the BIOS to read it.
#include <fmt/format.h>

#include "entry_state.h"
#include "little_endian.h"
#include "loaders.h"

namespace dualvm::boot {

namespace {

constexpr u64 kSectorSize = 512, kSignatureOffset = 510;
constexpr u16 kSignature = 0xaa55;  // the bytes 55h, AAh
constexpr u64 kLargestImage = (kExtendedBiosData - kBootSectorAddress) / kSectorSize * kSectorSize;
constexpr u64 kFirstHardDisk = 0x80;

}  // namespace

bool is_boot_sector(std::span<const u8> kernel) {
    return !kernel.empty() && kernel.size() % kSectorSize == 0 && load<u16>(kernel, kSignatureOffset) == kSignature;
}

Expected<Entry> plan_boot_sector(const BootImage& image, LoadPlan& plan) {
    if (!is_boot_sector(image.kernel)) {
        return bad_image(image.name, fmt::format("its {} bytes are no boot sector", image.kernel.size()),
                         "it must be a multiple of 512 bytes long and hold 55h, AAh at 510");
    }
    if (image.kernel.size() > kLargestImage) {
        return bad_image(image.name,
                         fmt::format("its {} bytes do not fit between 7C00h and 9FC00h ({} bytes)", image.kernel.size(),
                                     kLargestImage),
                         "a disk image belongs on a disk (-hda, with a BIOS)");
    }
    if (!image.modules.empty() || !image.append.empty()) {
        return bad_image(image.name, "a boot sector takes neither modules nor a command line",
                         "leave out -initrd and -append");
    }
    auto put = plan.put(kBootSectorAddress, image.kernel, image.kernel.size(), "boot sector");
    if (!put) return tl::unexpected(put.error());
    put_bios_data(plan);

    Entry state{.protocol = Protocol::Sector, .address = kBootSectorAddress};
    enter_real_mode(state.cpu, static_cast<u16>(kBootSectorAddress));
    state.cpu.general.gpr[RDX] = kFirstHardDisk;
    return state;
}

}  // namespace dualvm::boot
