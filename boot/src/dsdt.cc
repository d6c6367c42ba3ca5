// The Differentiated System Description Table's code: the devices of a PC that do not tell of themselves, how PCI's
// interrupts reach the interrupt controllers, and how to power off (ACPI specification 6.3, chapters 5 to 7; the IDs in
// "Plug and Play ACPI Device IDs").
#include "dsdt.h"

#include <string>

#include "aml.h"

namespace dualvm::boot {

namespace {

using namespace aml;

Bytes hardware_id(std::string_view id) { return name("_HID", eisa_id(id)); }
Bytes current_resources(const std::vector<Bytes>& descriptors) { return name("_CRS", resource_template(descriptors)); }
Bytes isa_device(std::string_view object, std::string_view id, const std::vector<Bytes>& descriptors) {
    return device(object, {hardware_id(id), current_resources(descriptors)});
}

std::vector<Bytes> isa_devices(const Platform& p) {
    std::vector<Bytes> all;
    all.push_back(isa_device("RTC", "PNP0B00", {io_ports(0x70, 2), irq(8)}));
    if (p.keyboard) all.push_back(isa_device("KBD", "PNP0303", {io_ports(0x60, 1), io_ports(0x64, 1), irq(1)}));
    if (p.mouse) all.push_back(isa_device("MOU", "PNP0F13", {irq(12)}));
    if (p.floppy) {
        all.push_back(isa_device("FDC0", "PNP0700", {io_ports(0x3f2, 4), io_ports(0x3f7, 1), irq(6), dma(2)}));
    }
    if (p.com1) {
        all.push_back(device("COM1", {hardware_id("PNP0501"), name("_UID", integer(1)),
                                      current_resources({io_ports(0x3f8, 8), irq(4)})}));
    }
    return all;
}

// --- PCI: an interrupt link for each of the router's four registers (6.2.13; 82371AB data sheet, "PIRQRC") ---------

constexpr unsigned kLinks = 4;
constexpr std::string_view kLinkNames[kLinks] = {"LNKA", "LNKB", "LNKC", "LNKD"};
constexpr std::string_view kRouterFields[kLinks] = {"PRQ0", "PRQ1", "PRQ2", "PRQ3"};
constexpr u64 kRouterOff = 0x80;  // a router register's bit 7: the pin leads nowhere

// The registers, in the configuration space of the ISA bridge.
Bytes router(const Platform& p) {
    std::vector<FieldUnit> fields;
    for (const auto& field : kRouterFields) fields.push_back({field, 8});
    return join(
        {operation_region("PIRQ", Space::PciConfig, p.pci_router_register, kLinks), byte_field("PIRQ", fields)});
}

Bytes link(const Platform& p, unsigned number) {
    const Bytes field = path("\\_SB.PCI0.ISA." + std::string(kRouterFields[number]));
    constexpr u64 kNumberInDescriptor = 5;  // of an extended interrupt descriptor's first number
    constexpr u64 kDisabled = 9, kEnabled = 0xb;
    std::vector<u32> possible;
    for (u32 n = 0; n < 16; ++n) {
        if ((p.pci_interrupts >> n & 1) != 0) possible.push_back(n);
    }
    return device(
        kLinkNames[number],
        {hardware_id("PNP0C0F"), name("_UID", integer(number + 1)),
         name("_PRS", resource_template({interrupts(possible)})), name("BUF", resource_template({interrupts({0})})),
         method("_STA", 0,
                {if_then(bit_and(field, integer(kRouterOff)), {give_back(integer(kDisabled))}),
                 give_back(integer(kEnabled))}),
         method("_DIS", 0, {bit_or(field, integer(kRouterOff), field)}),
         method("_CRS", 0,
                {create_dword_field(path("BUF"), kNumberInDescriptor, "NUM"), store(integer(0), path("NUM")),
                 if_then(less(field, integer(kRouterOff)), {store(field, path("NUM"))}), give_back(path("BUF"))}),
         method("_SRS", 1, {create_dword_field(kArg0, kNumberInDescriptor, "SET"), store(path("SET"), field)})});
}

// Which link each pin of each slot leads to (6.2.13): they rotate, so that cards in all slots share four wires evenly.
Bytes routing() {
    constexpr u32 kSlots = 32, kPins = 4, kAllFunctions = 0xffff;
    std::vector<Bytes> entries;
    for (u32 slot = 1; slot < kSlots; ++slot) {
        for (u32 pin = 0; pin < kPins; ++pin) {
            const unsigned to = (slot + pin + kLinks - 1) % kLinks;
            entries.push_back(
                package({integer(slot << 16 | kAllFunctions), integer(pin), path(kLinkNames[to]), integer(0)}));
        }
    }
    return name("_PRT", package(entries));
}

Bytes host_bridge(const Platform& p) {
    const Bytes isa =
        device("ISA", {name("_ADR", integer(u64{p.pci_router_slot} << 16)), router(p), join(isa_devices(p))});
    return device("PCI0",
                  {hardware_id("PNP0A03"), name("_UID", integer(0)),
                   current_resources({bus_numbers(0, 0xff), io_ports(0xcf8, 8), io_window(0, 0xcf7),
                                      io_window(0xd00, 0xffff), memory_window(0xa0000, 0xbffff, true),
                                      memory_window(p.pci_memory, p.pci_memory + p.pci_memory_size - 1, false)}),
                   routing(), isa});
}

}  // namespace

std::vector<u8> dsdt_code(const Platform& p) {
    std::vector<Bytes> bus;
    if (p.pci) {
        bus.push_back(host_bridge(p));
        for (unsigned n = 0; n < kLinks; ++n) bus.push_back(link(p, n));
    } else {
        bus.push_back(device("ISA", {hardware_id("PNP0A00"), join(isa_devices(p))}));
    }
    // The sleep states are packages of what to write to SLP_TYP of PM1a, and of PM1b, which there is none of (7.4.2).
    return join({scope("\\_SB", bus),
                 name("\\_S5", package({integer(p.soft_off), integer(p.soft_off), integer(0), integer(0)}))});
}

}  // namespace dualvm::boot
