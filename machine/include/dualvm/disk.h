// A disk as a drive sees it: numbered sectors that can be read, written and made to last. What file format lies behind
// it, if a file at all, is the storage room's business.
#pragma once

#include <span>

#include "dualvm/types.h"

namespace dualvm {

inline constexpr u64 kSectorSize = 512;

class Disk {
public:
    virtual ~Disk() = default;

    virtual u64 size_in_sectors() const = 0;
    virtual bool read_only() const = 0;

    // Byte offset and length are multiples of kSectorSize and lie within the disk; anything else is refused with an
    // error and has no effect. An error from the host (disk full, unreadable file) is for the drive to report to its
    // guest as an I/O error; the disk stays usable.
    virtual Expected<void> read(u64 offset, std::span<u8> to) = 0;
    virtual Expected<void> write(u64 offset, std::span<const u8> from) = 0;
    // When it returns, everything written before survives a crash of the host.
    virtual Expected<void> flush() = 0;

    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;

protected:
    Disk() = default;
};

}  // namespace dualvm
