// What a PC makes of the CPU's FERR# pin: IRQ 13, which a write to port F0h takes back (SDM vol. 1, 8.7.2 and appendix
// D).
#pragma once

#include "dualvm/machine.h"

namespace dualvm::devices {

class CoprocessorError final : public Device {
public:
    static constexpr u16 kPort = 0xf0;

    CoprocessorError(Machine& machine, IrqLine irq13);
    const char* name() const override { return "coprocessor error"; }
    u64 read(u64, unsigned) override { return 0xff; }
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override { irq_.lower(); }
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    Machine& machine_;
    IrqLine irq_;
};

}  // namespace dualvm::devices
