// Port 92h, "system control port A" (PS/2 technical reference): bit 1 is the A20 gate, bit 0 pulses the CPU's reset.
#pragma once

#include "dualvm/machine.h"

namespace dualvm::devices {

class SystemControlPort final : public Device {
public:
    explicit SystemControlPort(Machine& machine) : machine_(machine) {}
    const char* name() const override { return "port 92h"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override { value_ = 0; }
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    Machine& machine_;
    u8 value_ = 0;  // what was written to bits that do nothing here (lights, lock); A20 itself is VMem's
};

}  // namespace dualvm::devices
