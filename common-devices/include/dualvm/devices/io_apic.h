// The I/O APIC (Intel 82093AA data sheet; the EOI register is that of its successors in the ICH family): 24 inputs,
// each with an entry that says which message it sends to the local APICs.
#pragma once

#include <array>
#include <functional>

#include "dualvm/devices/local_apic.h"

namespace dualvm::devices {

class IoApic final : public Device {
public:
    static constexpr u64 kUsualBase = 0xfec00000, kSize = kPageSize;
    static constexpr unsigned kInputs = 24;

    // `send` hands a message to the local APICs and says whether one has taken it.
    explicit IoApic(std::function<bool(const ApicMessage&)> send);

    IrqLine input(unsigned number);
    // A local APIC has ended a level-triggered interrupt of this vector.
    void end_of_interrupt(u8 vector);

    const char* name() const override { return "io apic"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    void set_input(unsigned number, bool level);
    void send(u64& entry);
    void send_if_asserted(unsigned number);
    u32 read_register() const;
    void write_register(u32 value);

    std::function<bool(const ApicMessage&)> send_;
    std::array<u64, kInputs> entries_{};  // the redirection table
    u32 asserted_ = 0;                    // bit n: input n
    u8 select_ = 0, id_ = 0;
};

}  // namespace dualvm::devices
