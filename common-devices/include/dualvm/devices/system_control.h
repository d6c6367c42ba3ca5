// The PC's small control ports: 92h (A20 and fast reset), CF9h (reset control) with the PCI configuration ports around
// it (no PCI devices yet: every read says "nobody"), and the 8042's part in A20 and reset.
#pragma once

#include <functional>

#include "dualvm/machine.h"

namespace dualvm::devices {

// Port 92h, "system control port A" (PS/2): bit 0 pulses reset, bit 1 is the A20 gate.
class SystemControlPort final : public Device {
public:
    explicit SystemControlPort(Machine& machine) : machine_(machine) {}
    const char* name() const override { return "port 92h"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override { value_ = 2; }
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    Machine& machine_;
    u8 value_ = 2;
};

// Ports CF8h-CFFh: PCI configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) and, at CF9h for byte
// accesses, the reset control register of Intel's south bridges (bit 1 the kind, bit 2 does it).
class PciConfigurationPorts final : public Device {
public:
    explicit PciConfigurationPorts(Machine& machine) : machine_(machine) {}
    const char* name() const override { return "pci configuration"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    Machine& machine_;
    u32 address_ = 0;
    u8 reset_control_ = 0;
};

// 8042 keyboard controller without a keyboard: self-test, command byte, output port (A20) and the reset pulse. Offsets
// 0 and 1 are ports 60h and 64h.
class I8042 final : public Device {
public:
    explicit I8042(Machine& machine) : machine_(machine) {}
    const char* name() const override { return "i8042"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    void command(u8 value);
    void data(u8 value);
    void answer(u8 value);
    u8 output_port() const;
    void set_output_port(u8 value);

    Machine& machine_;
    u8 command_byte_ = 0x61;  // keyboard disabled, system flag, translation
    u8 output_ = 0;
    u8 pending_command_ = 0;  // waits for its data byte
    bool output_full_ = false, last_was_command_ = false;
};

}  // namespace dualvm::devices
