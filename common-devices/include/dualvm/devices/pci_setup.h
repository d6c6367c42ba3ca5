// What firmware does to PCI, for a PC that has none: BARs get places, interrupts get ways to the 8259As, and functions
// are switched on.
#pragma once

#include "dualvm/devices/pci.h"
#include "dualvm/devices/pic8259.h"
#include "dualvm/devices/piix3_isa.h"

namespace dualvm::devices {

void set_up_pci(PciBus& bus, Piix3Isa& router, Pic8259Pair& pic);

}  // namespace dualvm::devices
