#include "firmware_watch.h"

#include <fmt/format.h>

namespace dualvm::app {

namespace {

constexpr std::size_t kLongestLine = 256;  // the guest may write to the port as well
// SeaBIOS, src/boot.c, boot_fail().
constexpr std::string_view kNothing = "No bootable device.";

}  // namespace

bool FirmwareWatch::take(u8 byte) {
    if (byte != '\n') {
        if (line_.size() < kLongestLine) line_ += static_cast<char>(byte);
        return false;
    }
    const bool found = line_.starts_with(kNothing);
    line_.clear();
    nothing_to_boot_ |= found;
    return found;
}

std::string FirmwareWatch::what_is_wanted(const GuestOptions& guest) {
    const BootOrder& order = guest.order;
    return fmt::format(
        "the BIOS found nothing to boot from (boot order '{}'): a disk, CD-ROM or floppy disk with a boot sector is "
        "wanted (-hda, -cdrom, -fda)",
        order.once.empty() ? order.order : order.once);
}

}  // namespace dualvm::app
