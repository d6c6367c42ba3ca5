#include "dualvm/devices/pci.h"

namespace dualvm::devices {

namespace {

// Status register (6.2.3): the capability of medium-speed DEVSEL#; errors seen, which the guest clears by writing 1.
constexpr u16 kMediumDevsel = 0x0200, kErrorsSeen = 0xf900;
constexpr u8 kInterruptStatus = 8;
constexpr u32 kPortsBar = 1, kPrefetchableBar = 8;

}  // namespace

PciFunction::PciFunction(const PciIdentity& id) {
    define(0x00, 4, u32{id.device} << 16 | id.vendor, 0);
    define(pci::kCommand, 2, 0, pci::kBusMaster | pci::kInterruptDisable);
    define(pci::kStatus, 2, kMediumDevsel, kErrorsSeen, kErrorsSeen);
    define(0x08, 4, id.class_code << 8 | id.revision, 0);
    define(0x0d, 1, 0, 0xf8);  // latency timer
    define(0x0e, 1, id.multifunction ? 0x80 : 0, 0);
    define(pci::kSubsystem, 4, u32{id.subsystem} << 16 | id.subsystem_vendor, 0);
    define(pci::kInterruptLine, 1, 0, id.interrupt_pin != 0 ? 0xff : 0);
    define(pci::kInterruptPin, 1, id.interrupt_pin, 0);
}

void PciFunction::define(u8 at, unsigned size, u32 value, u32 writable, u32 cleared_by_one) {
    for (unsigned i = 0; i < size; ++i) {
        config_[at + i] = after_reset_[at + i] = static_cast<u8>(value >> (8 * i));
        writable_[at + i] = static_cast<u8>(writable >> (8 * i));
        cleared_by_one_[at + i] = static_cast<u8>(cleared_by_one >> (8 * i));
    }
}

// The bits below the size cannot be written, so that all ones come back as the size (6.2.5.1).
void PciFunction::add_bar(unsigned index, const PciBar& bar) {
    bars_[index] = bar;
    const bool ports = bar.kind == PciBar::Kind::Ports;
    const u32 type = ports ? kPortsBar : bar.prefetchable ? kPrefetchableBar : 0;
    define(static_cast<u8>(pci::kBars + 4 * index), 4, type, ~(bar.size - 1));
    writable_[pci::kCommand] |= static_cast<u8>(ports ? pci::kDecodePorts : pci::kDecodeMemory);
}

u32 PciFunction::read_config(u8 at, unsigned size) const {
    u32 value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const u8 reg = static_cast<u8>(at + i);
        u8 byte = config_[reg];
        if (reg == pci::kStatus && interrupt_) byte |= kInterruptStatus;
        value |= u32{byte} << (8 * i);
    }
    return value;
}

void PciFunction::write_config(u8 at, unsigned size, u32 value) {
    for (unsigned i = 0; i < size; ++i) {
        const u8 reg = static_cast<u8>(at + i), byte = static_cast<u8>(value >> (8 * i));
        const u8 ones = cleared_by_one_[reg], plain = static_cast<u8>(writable_[reg] & ~ones);
        config_[reg] = static_cast<u8>((config_[reg] & ~plain & ~(byte & ones)) | (byte & plain));
    }
    config_changed(at, size);
    const bool header = at < pci::kBars + 4 * kBarCount;
    if (bus_ != nullptr && header) {
        bus_->place_bars();
        bus_->update_pirqs();
    }
}

std::optional<u64> PciFunction::wanted(const PciBar& bar, unsigned index) const {
    if (bar.kind == PciBar::Kind::Absent) return std::nullopt;
    const bool ports = bar.kind == PciBar::Kind::Ports;
    if ((command() & (ports ? pci::kDecodePorts : pci::kDecodeMemory)) == 0) return std::nullopt;
    const u64 base = read_config(static_cast<u8>(pci::kBars + 4 * index), 4) & ~u64{bar.size - 1};
    if (base == 0) return std::nullopt;  // as a reset leaves it
    return base;
}

void PciFunction::set_interrupt(bool level) {
    if (level == interrupt_) return;
    interrupt_ = level;
    if (bus_ != nullptr) bus_->update_pirqs();
}

void PciFunction::reset_config() {
    config_ = after_reset_;
    interrupt_ = false;
    config_changed(0, 256);
    if (bus_ != nullptr) {
        bus_->place_bars();
        bus_->update_pirqs();
    }
}

void PciFunction::save_config(ArchiveWriter& out) const {
    out.tag("PCIF", 1);
    out.put_bytes(config_.data(), config_.size());
    out.put(static_cast<u8>(interrupt_));
}

// Bits that the guest cannot write are what they are in this machine, whatever the archive says.
void PciFunction::load_config(ArchiveReader& in) {
    in.expect("PCIF", 1);
    std::array<u8, 256> saved{};
    in.get_bytes(saved.data(), saved.size());
    const bool interrupt = in.get<u8>() != 0;
    if (!in.ok()) {
        reset_config();
        return;
    }
    for (std::size_t i = 0; i < saved.size(); ++i) {
        config_[i] = static_cast<u8>((after_reset_[i] & ~writable_[i]) | (saved[i] & writable_[i]));
    }
    interrupt_ = interrupt;
    config_changed(0, 256);
    if (bus_ != nullptr) {
        bus_->place_bars();
        bus_->update_pirqs();
    }
}

void PciBus::attach(unsigned slot, unsigned number, PciFunction& function) {
    functions_[slot * kFunctions + number] = &function;
    function.bus_ = this;
    place_bars();
    update_pirqs();
}

IoSpace& PciBus::space_of(const PciBar& bar) { return bar.kind == PciBar::Kind::Ports ? vio_.ports() : vio_.mmio(); }

void PciBus::unplace(PciFunction& function, unsigned index) {
    PciBar& bar = function.bars_[index];
    if (!bar.at) return;
    if (bar.device != nullptr) space_of(bar).remove(*bar.at);
    bar.at.reset();
    function.bar_moved(index, bar.at);
}

void PciBus::place(PciFunction& function, unsigned index) {
    PciBar& bar = function.bars_[index];
    const auto base = function.wanted(bar, index);
    if (bar.at == base || !base) return;
    if (bar.device != nullptr && !space_of(bar).add(*base, bar.size, *bar.device, bar.device_offset)) return;
    bar.at = base;
    function.bar_moved(index, bar.at);
}

// First all leave that want to be elsewhere: two may change places.
void PciBus::place_bars() {
    for (PciFunction* f : functions_) {
        for (unsigned i = 0; f != nullptr && i < PciFunction::kBarCount; ++i) {
            if (f->bars_[i].at != f->wanted(f->bars_[i], i)) unplace(*f, i);
        }
    }
    for (PciFunction* f : functions_) {
        for (unsigned i = 0; f != nullptr && i < PciFunction::kBarCount; ++i) place(*f, i);
    }
}

// Interrupt pins are open drain: whoever shares a wire can pull it.
void PciBus::update_pirqs() {
    std::array<bool, kPirqs> now{};
    for (unsigned i = 0; i < functions_.size(); ++i) {
        const PciFunction* f = functions_[i];
        if (f == nullptr || f->interrupt_pin() == 0 || !f->interrupt()) continue;
        now[pirq_of(i / kFunctions, f->interrupt_pin())] = true;
    }
    for (unsigned i = 0; i < kPirqs; ++i) {
        if (std::exchange(pirqs_[i], now[i]) != now[i] && on_pirq_) on_pirq_(i, now[i]);
    }
}

}  // namespace dualvm::devices
