#include "dualvm/devices/pci_setup.h"

#include <array>

namespace dualvm::devices {

namespace {

// As SeaBIOS has them: two inputs for the four wires; ports and memory from here on.
constexpr std::array<u8, PciBus::kPirqs> kInputs = {10, 10, 11, 11};
constexpr u64 kPorts = 0xc000, kMemory = 0xe0000000;

class Places {
public:
    // The next free one, aligned to its size as BARs are.
    u32 take(const PciBar& bar) {
        u64& next = bar.kind == PciBar::Kind::Ports ? ports_ : memory_;
        const u64 at = (next + bar.size - 1) & ~u64{bar.size - 1};
        next = at + bar.size;
        return static_cast<u32>(at);
    }

private:
    u64 ports_ = kPorts, memory_ = kMemory;
};

void set_up(PciFunction& function, unsigned slot, Places& places) {
    for (unsigned i = 0; i < PciFunction::kBarCount; ++i) {
        const PciBar& bar = function.bar(i);
        if (bar.kind == PciBar::Kind::Absent) continue;
        function.write_config(static_cast<u8>(pci::kBars + 4 * i), 4, places.take(bar));
    }
    const u8 pin = function.interrupt_pin();
    if (pin != 0) function.write_config(pci::kInterruptLine, 1, kInputs[PciBus::pirq_of(slot, pin)]);
    const u32 on = pci::kDecodePorts | pci::kDecodeMemory | pci::kBusMaster;
    function.write_config(pci::kCommand, 2, function.command() | on);
}

}  // namespace

void set_up_pci(PciBus& bus, Piix3Isa& router, Pic8259Pair& pic) {
    u16 by_level = 0;
    for (unsigned i = 0; i < PciBus::kPirqs; ++i) {
        router.write_config(static_cast<u8>(Piix3Isa::kPirqRoute + i), 1, kInputs[i]);
        by_level |= static_cast<u16>(1u << kInputs[i]);
    }
    pic.write(Pic8259Pair::kEdgeLevel, 2, by_level);
    Places places;
    for (unsigned slot = 0; slot < PciBus::kSlots; ++slot) {
        for (unsigned number = 0; number < PciBus::kFunctions; ++number) {
            if (PciFunction* function = bus.find(slot, number)) set_up(*function, slot, places);
        }
    }
}

}  // namespace dualvm::devices
