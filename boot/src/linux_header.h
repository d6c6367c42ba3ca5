// The setup header of a Linux bzImage (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
#pragma once

#include <span>
#include <string>

#include "dualvm/types.h"

namespace dualvm::boot {

// Offsets in the file, which are those in the zero page too.
namespace setup_header {
inline constexpr u64 kBegin = 0x1f1, kSetupSectors = 0x1f1, kSysSize = 0x1f4, kVideoMode = 0x1fa, kBootFlag = 0x1fe,
                     kJump = 0x200, kMagic = 0x202, kVersion = 0x206, kTypeOfLoader = 0x210, kLoadFlags = 0x211,
                     kCode32Start = 0x214, kRamdiskImage = 0x218, kRamdiskSize = 0x21c, kCommandLinePointer = 0x228,
                     kInitrdAddressMax = 0x22c, kKernelAlignment = 0x230, kRelocatable = 0x234, kXLoadFlags = 0x236,
                     kCommandLineSize = 0x238, kPreferredAddress = 0x258, kInitSize = 0x260,
                     kEndOfSpace = 0x290;  // what the zero page has room for
}

// What a loader wants to know of it, with the defaults of protocols that lack a field filled in.
struct LinuxHeader {
    u16 version = 0;  // 0x020f is 2.15
    u64 header_end = 0;
    std::span<const u8> payload{};  // the protected-mode kernel
    u64 initrd_address_max = 0;     // the highest address that may be used
    u64 command_line_max = 0;       // without the 0 byte at its end
    bool has_64bit_entry = false;
    bool relocatable = false;
    u64 alignment = 1;
    u64 preferred_address = 0;  // never below 1 MiB
    u64 init_size = 0;          // memory used from the run-time start on, at least the payload's
};

Expected<LinuxHeader> parse_linux_header(const std::string& name, std::span<const u8> kernel);

}  // namespace dualvm::boot
