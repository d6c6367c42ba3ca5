#include "dualvm/devices/bus_memory.h"

#include <algorithm>

#include "dualvm/devices/vga.h"

namespace dualvm::devices {

// `memory(address, done, bytes)` and `window(address, done)` move what lies in the one and, byte by byte, in the other.
template <class InMemory, class InWindow>
bool BusMemory::piecewise(u64 address, u64 size, InMemory memory, InWindow window) const {
    if (memory(address, 0, size)) return true;
    if (vio_ == nullptr) return false;
    constexpr u64 kWindowEnd = Vga::kWindow + Vga::kWindowSize;
    for (u64 done = 0; done < size;) {
        const u64 at = address + done;
        if (at >= Vga::kWindow && at < kWindowEnd) {
            window(at, done);
            ++done;
            continue;
        }
        const u64 bytes = at < Vga::kWindow ? std::min(size - done, Vga::kWindow - at) : size - done;
        if (!memory(at, done, bytes)) return false;
        done += bytes;
    }
    return true;
}

bool BusMemory::read(u64 address, u8* into, u64 size) const {
    return piecewise(
        address, size, [&](u64 at, u64 done, u64 bytes) { return vmem_->read(at, into + done, bytes); },
        [&](u64 at, u64 done) { into[done] = static_cast<u8>(vio_->read_mmio(at, 1)); });
}

bool BusMemory::write(u64 address, const u8* from, u64 size) const {
    return piecewise(
        address, size, [&](u64 at, u64 done, u64 bytes) { return vmem_->write(at, from + done, bytes); },
        [&](u64 at, u64 done) { vio_->write_mmio(at, 1, from[done]); });
}

}  // namespace dualvm::devices
