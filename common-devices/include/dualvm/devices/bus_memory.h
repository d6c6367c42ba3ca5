// Memory as those see it who address it without the CPU (DMA): RAM and ROM, and the window of the graphics adapter,
// which answers on the bus like them.
#pragma once

#include "dualvm/machine.h"

namespace dualvm::devices {

class BusMemory {
public:
    // A bus without a graphics adapter.
    BusMemory(VMem& vmem) : vmem_(&vmem) {}  // NOLINT(google-explicit-constructor): it is that memory
    explicit BusMemory(Machine& machine) : vmem_(&machine.vmem()), vio_(&machine.vio()) {}

    // False if nothing answers at one of the addresses; what lies before it may have been moved.
    bool read(u64 address, u8* into, u64 size) const;
    bool write(u64 address, const u8* from, u64 size) const;
    template <class T>
    bool read_value(u64 address, T& into) const {
        return read(address, reinterpret_cast<u8*>(&into), sizeof into);
    }

private:
    template <class InMemory, class InWindow>
    bool piecewise(u64 address, u64 size, InMemory memory, InWindow window) const;

    VMem* vmem_;
    VIo* vio_ = nullptr;
};

}  // namespace dualvm::devices
