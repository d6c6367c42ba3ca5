// A BIOS instead of a kernel: its image is ROM at the end of the first 4 GiB, where the CPU begins after a reset, and
// its last 128 KiB are also in RAM below 1 MiB, as a chipset would copy them ("shadowing"): real-mode code runs there.
#include <fmt/format.h>

#include <algorithm>

#include "dualvm/boot/firmware.h"
#include "dualvm/boot/memory_map.h"
#include "image_file.h"

namespace dualvm::boot {

namespace {

constexpr u64 kGranule = 64 * 1024, kLargest = 8 * 1024 * 1024;
constexpr u64 kResetVector = 0xfffffff0;

Expected<std::vector<u8>> read_firmware(const std::string& path) {
    auto bytes = read_image_file(path, "BIOS", kLargest);
    if (!bytes) {
        Error error = bytes.error();
        if (path == kDefaultFirmware) error.text += "; Debian's package seabios has it, -bios FILE names another";
        return tl::unexpected(error);
    }
    if (bytes->size() % kGranule != 0) {
        return fail(ExitStatus::BadImage,
                    fmt::format("cannot use '{}' as BIOS: it has {} bytes; a BIOS image is a multiple of 64 KiB, up to "
                                "8 MiB, like {}",
                                path, bytes->size(), kDefaultFirmware));
    }
    const auto vector = bytes->end() - static_cast<std::ptrdiff_t>(kFourGibibytes - kResetVector);
    const auto erased = [](u8 byte) { return byte == 0 || byte == 0xff; };
    if (std::all_of(vector, bytes->end(), erased)) {
        return fail(ExitStatus::BadImage,
                    fmt::format("cannot use '{}' as BIOS: there is no code at its reset vector, 16 bytes before its "
                                "end; give a BIOS image like {}",
                                path, kDefaultFirmware));
    }
    return bytes;
}

}  // namespace

Expected<BootReport> boot_firmware(Machine& machine, const std::string& path) {
    auto bytes = read_firmware(path);
    if (!bytes) return tl::unexpected(bytes.error());
    VMem& memory = machine.vmem();
    const u64 base = kFourGibibytes - bytes->size();
    if (memory.find(base) == nullptr) {
        // After a reset it is there already: ROM has not changed.
        if (auto added = memory.add_rom(base, *bytes); !added) return tl::unexpected(added.error());
    }
    memory.set_a20(true);
    machine.cpu().reset();
    return BootReport{.protocol = Protocol::Firmware,
                      .entry = kResetVector,
                      .placed = {{.base = base, .size = bytes->size(), .what = "BIOS"}}};
}

}  // namespace dualvm::boot
