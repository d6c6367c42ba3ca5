// What a machine tells its guest about itself where it cannot be probed: the facts that firmware writes into ACPI
// tables. The room that makes the devices fills it in, the one that makes the tables reads it, and neither knows the
// other.
#pragma once

#include "dualvm/types.h"

namespace dualvm {

struct Platform {
    // ACPI's fixed hardware (ACPI specification 6.3, 4.8.3): ports of the register blocks.
    u16 pm1_event = 0;    // PM1a_EVT_BLK: status and enable, 2 bytes each
    u16 pm1_control = 0;  // PM1a_CNT_BLK
    u16 pm_timer = 0;     // PM_TMR_BLK, 24 bits wide
    u16 gpe0 = 0;         // GPE0_BLK: status and enable
    u8 gpe0_size = 0;     // bytes of both
    u8 sci = 0;           // the interrupt of all of these; level, active high
    u8 soft_off = 0;      // SLP_TYP of S5
    // Reset register: writing the value to the port resets the machine.
    u16 reset_port = 0;
    u8 reset_value = 0;

    // Interrupt controllers (5.2.12).
    u32 local_apic = 0;
    u32 io_apic = 0;
    u8 io_apic_id = 0;
    u8 timer_input = 0;       // I/O APIC input of ISA's IRQ 0
    u16 level_inputs = 0;     // bit n: ISA IRQ n is level-triggered and active high, not ISA's edge
    unsigned processors = 1;  // with APIC IDs from 0 on

    // PCI: the interrupt router (PIIX3's PIRQ registers), and where its links may lead.
    bool pci = false;
    u8 pci_router_slot = 0;
    u8 pci_router_register = 0;  // of the first of four
    u16 pci_interrupts = 0;      // bit n: IRQ n
    // Addresses below 4 GiB where PCI devices' memory may be put.
    u32 pci_memory = 0;
    u32 pci_memory_size = 0;

    // ISA devices that do not tell of themselves.
    bool keyboard = false, mouse = false, floppy = false;
    bool com1 = false;
};

}  // namespace dualvm
