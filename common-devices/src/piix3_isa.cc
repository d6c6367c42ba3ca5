#include "dualvm/devices/piix3_isa.h"

namespace dualvm::devices {

namespace {

constexpr PciIdentity kIdentity = {.vendor = 0x8086,
                                   .device = 0x7000,
                                   .class_code = 0x060100,
                                   .subsystem_vendor = 0x1af4,
                                   .subsystem = 0x1100,
                                   .multifunction = true};

constexpr u8 kNotRouted = 0x80;
// Inputs that a PCI interrupt can be led to: not the timer, keyboard, cascade, clock and coprocessor.
constexpr u16 kRoutable = 0xdef8;

}  // namespace

Piix3Isa::Piix3Isa(PciBus& bus, IsaInterrupts interrupts)
    : PciFunction(kIdentity), bus_(bus), interrupts_(std::move(interrupts)) {
    define(pci::kCommand, 2, 0x0007, 0x0108);
    define(pci::kStatus, 2, 0x0200, 0x7800, 0x7800);
    define(0x4c, 1, 0x4d, 0xff);      // IORT
    define(0x4e, 2, 0x0003, 0xffff);  // XBCS
    define(kPirqRoute, 4, 0x80808080, 0x8f8f8f8f);
    define(0x69, 1, 0x02, 0xfe);         // TOM
    define(0x6a, 2, 0, 0x8085);          // MSTAT
    define(0x70, 2, 0x8080, 0xefef);     // MBIRQ0, MBIRQ1
    define(0x76, 2, 0x0c0c, 0x8f8f);     // MBDMA0, MBDMA1
    define(0x78, 2, 0x0002, 0xfffe);     // PCSC
    define(0x80, 1, 0, 0x7f);            // APICBASE
    define(0x82, 1, 0, 0x0f);            // DLC
    define(0xa0, 1, 0x08, 0x1f);         // SMICNTL
    define(0xa2, 2, 0, 0xffff);          // SMIEN
    define(0xa4, 4, 0, 0xffffffff);      // SEE
    define(0xa8, 1, 0x0f, 0xff);         // FTMR
    define(0xaa, 2, 0, 0x00ff, 0x00ff);  // SMIREQ
    define(0xac, 1, 0, 0xff);            // CTLTMR
    define(0xae, 1, 0, 0xff);            // CTHTMR
    bus_.on_pirq([this](unsigned, bool) { route(); });
}

void Piix3Isa::config_changed(unsigned at, unsigned size) {
    if (at < kPirqRoute + PciBus::kPirqs && at + size > kPirqRoute) route();
}

// Several wires may lead to one input, which is high if any of them is asserted.
void Piix3Isa::route() {
    u32 asserted = 0;
    for (unsigned i = 0; i < PciBus::kPirqs; ++i) {
        const u32 control = read_config(static_cast<u8>(kPirqRoute + i), 1);
        if (bus_.pirq(i) && (control & kNotRouted) == 0) asserted |= 1u << (control & 0xf);
    }
    for (unsigned irq = 0; irq < interrupts_.size(); ++irq) {
        interrupts_[irq].set((asserted & kRoutable & (1u << irq)) != 0);
    }
}

}  // namespace dualvm::devices
