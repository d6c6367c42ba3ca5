// PCI (PCI Local Bus Specification 3.0): functions with a configuration space, base address registers that the guest
// moves, and interrupt pins; and bus 0, to which they are attached.
//
// A device on PCI is a Device like any other, and a PciFunction besides: it names itself, adds its BARs in its
// constructor, each with the Device (often itself) and the offset that accesses go to, and sets its interrupt pin.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "dualvm/archive.h"
#include "dualvm/vio.h"

namespace dualvm::devices {

class PciBus;

struct PciIdentity {
    u16 vendor = 0, device = 0;
    u32 class_code = 0;  // class, subclass, programming interface
    u8 revision = 0;
    u16 subsystem_vendor = 0, subsystem = 0;
    bool multifunction = false;
    u8 interrupt_pin = 0;  // 1-4: INTA#-INTD#; 0: none
};

struct PciBar {
    enum class Kind : u8 { Absent, Ports, Memory };
    Kind kind = Kind::Absent;
    u32 size = 0;              // a power of two, at least 4 (ports) or 16 (memory)
    Device* device = nullptr;  // nullptr: the function is told by bar_moved() and sees to it itself
    u64 device_offset = 0;
    bool prefetchable = false;
    std::optional<u64> at = std::nullopt;  // where it answers now
};

// Offsets in configuration space (6.1).
namespace pci {
enum : u8 {
    kCommand = 0x04,
    kStatus = 0x06,
    kBars = 0x10,
    kSubsystem = 0x2c,
    kInterruptLine = 0x3c,
    kInterruptPin = 0x3d,
};
enum : u16 { kDecodePorts = 1, kDecodeMemory = 2, kBusMaster = 4, kInterruptDisable = 0x400 };
}  // namespace pci

class PciFunction {
public:
    static constexpr unsigned kBarCount = 6;

    explicit PciFunction(const PciIdentity& identity);
    virtual ~PciFunction() = default;
    PciFunction(const PciFunction&) = delete;
    PciFunction& operator=(const PciFunction&) = delete;

    // `size` bytes (1, 2, 4) at `at`, which do not leave their dword.
    u32 read_config(u8 at, unsigned size) const;
    void write_config(u8 at, unsigned size, u32 value);

    const PciBar& bar(unsigned index) const { return bars_[index]; }
    u16 command() const { return static_cast<u16>(read_config(pci::kCommand, 2)); }
    u8 interrupt_pin() const { return config_[pci::kInterruptPin]; }
    // The level of its interrupt pin.
    bool interrupt() const { return interrupt_ && (command() & pci::kInterruptDisable) == 0; }

protected:
    // In the constructor: what registers hold after a reset, which bits the guest can write, and which of those it
    // clears by writing 1.
    void define(u8 at, unsigned size, u32 value, u32 writable, u32 cleared_by_one = 0);
    void add_bar(unsigned index, const PciBar& bar);

    void set_interrupt(bool level);
    void reset_config();
    void save_config(ArchiveWriter& out) const;
    void load_config(ArchiveReader& in);

    // The guest has written to [at, at + size), or all has changed by a reset or a load (0, 256).
    virtual void config_changed([[maybe_unused]] unsigned at, [[maybe_unused]] unsigned size) {}
    // A BAR answers elsewhere from now on, or nowhere.
    virtual void bar_moved([[maybe_unused]] unsigned index, [[maybe_unused]] std::optional<u64> at) {}

private:
    friend class PciBus;
    // Where the guest wants the BAR to answer.
    std::optional<u64> wanted(const PciBar& bar, unsigned index) const;

    std::array<u8, 256> config_{}, after_reset_{}, writable_{}, cleared_by_one_{};
    std::array<PciBar, kBarCount> bars_{};
    bool interrupt_ = false;
    PciBus* bus_ = nullptr;
};

class PciBus {
public:
    static constexpr unsigned kSlots = 32, kFunctions = 8, kPirqs = 4;

    explicit PciBus(VIo& vio) : vio_(vio) {}

    // `function` must outlive the bus.
    void attach(unsigned slot, unsigned number, PciFunction& function);
    // nullptr if there is none.
    PciFunction* find(unsigned slot, unsigned number) const { return functions_[slot * kFunctions + number]; }

    // Called when one of the four interrupt wires that lead to the interrupt router changes. On this board, INTA# of
    // slot 1 is the first, that of slot 2 the second, and so on.
    void on_pirq(std::function<void(unsigned pirq, bool level)> listener) { on_pirq_ = std::move(listener); }
    static unsigned pirq_of(unsigned slot, u8 pin) { return (slot + kPirqs - 1 + pin - 1) % kPirqs; }
    bool pirq(unsigned index) const { return pirqs_[index]; }

    // Makes BARs answer where the guest wants them. Where one would lie over another device, the one that was there
    // stays alone until there is room.
    void place_bars();
    void update_pirqs();

private:
    void unplace(PciFunction& function, unsigned index);
    void place(PciFunction& function, unsigned index);
    IoSpace& space_of(const PciBar& bar);

    VIo& vio_;
    std::array<PciFunction*, kSlots * kFunctions> functions_{};
    std::array<bool, kPirqs> pirqs_{};
    std::function<void(unsigned, bool)> on_pirq_;
};

}  // namespace dualvm::devices
