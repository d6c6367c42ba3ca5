// vIO: port space and MMIO space, each a sorted map of ranges to devices.
#pragma once

#include <vector>

#include "dualvm/archive.h"
#include "dualvm/types.h"

namespace dualvm {

// A part of the machine that answers port or MMIO accesses. It gets an offset into its range and an access size in
// bytes (1, 2, 4; 8 for MMIO), and does not know where it lives, nor which engine asks.
class Device {
public:
    virtual ~Device() = default;
    virtual const char* name() const = 0;
    virtual u64 read(u64 offset, unsigned size) = 0;
    virtual void write(u64 offset, unsigned size, u64 value) = 0;
    // True if writes may reach the device late, as long as they do so in order and before any access that is not so
    // postponed (and within a slice of host time): the guest cannot tell, and an engine may gather them.
    virtual bool posted_writes() const { return false; }
    // Power-on state.
    virtual void reset() = 0;
    virtual void save(ArchiveWriter& out) const = 0;
    virtual void load(ArchiveReader& in) = 0;
};

struct IoRange {
    u64 base = 0;
    u64 size = 0;
    Device* device = nullptr;
    u64 device_offset = 0;  // offset that the device sees for `base`
};

// One address space of devices: ranges sorted by base, no overlap.
class IoSpace {
public:
    // `limit` is the last valid address (FFFFh for ports).
    IoSpace(const char* name, u64 limit) : name_(name), limit_(limit) {}

    // Refuses an empty range, one that wraps or passes the limit, and one that overlaps another.
    Expected<void> add(u64 base, u64 size, Device& device, u64 device_offset = 0);
    void remove(u64 base);

    const IoRange* find(u64 address) const;
    const std::vector<IoRange>& ranges() const { return ranges_; }
    u64 limit() const { return limit_; }
    // Grows whenever a range comes or goes, and whenever writes to one may be postponed that might not, or the reverse.
    u64 generation() const { return generation_; }
    // For a device whose posted_writes() is another from now on.
    void posting_changed() { ++generation_; }

private:
    const char* name_;
    u64 limit_;
    std::vector<IoRange> ranges_;
    u64 generation_ = 1;
    mutable std::size_t last_hit_ = 0;  // accesses come in runs to the same device
};

class VIo {
public:
    IoSpace& ports() { return ports_; }
    IoSpace& mmio() { return mmio_; }
    const IoSpace& ports() const { return ports_; }
    const IoSpace& mmio() const { return mmio_; }
    u64 generation() const { return ports_.generation() + mmio_.generation(); }

    // An access that crosses out of its device's range is split into bytes. Where no device answers, the ISA bus
    // floats: reads give all ones, writes are dropped.
    u64 read_port(u16 port, unsigned size) { return read(ports_, port, size); }
    void write_port(u16 port, unsigned size, u64 value) { write(ports_, port, size, value); }
    u64 read_mmio(u64 address, unsigned size) { return read(mmio_, address, size); }
    void write_mmio(u64 address, unsigned size, u64 value) { write(mmio_, address, size, value); }

private:
    static u64 read(const IoSpace& space, u64 address, unsigned size);
    static void write(const IoSpace& space, u64 address, unsigned size, u64 value);

    IoSpace ports_{"port", 0xffff};
    IoSpace mmio_{"MMIO", ~u64{0}};
};

}  // namespace dualvm
