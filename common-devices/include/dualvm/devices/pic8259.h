// The PC's pair of 8259A interrupt controllers (Intel 8259A data sheet): master at 20h, slave at A0h, joined at IRQ 2,
// with the edge/level registers that PCI chipsets added at 4D0h and 4D1h.
#pragma once

#include <array>

#include "dualvm/irq_line.h"
#include "dualvm/vio.h"

namespace dualvm::devices {

class Pic8259Pair final : public Device, public InterruptSource {
public:
    // Offsets that the ports are mapped to: see pc.cc.
    static constexpr u64 kMaster = 0, kSlave = 2, kEdgeLevel = 4;

    // The wire of IRQ 0-15 (2 is the cascade and belongs to nobody).
    IrqLine line(unsigned irq);

    // Joins the master's INT pin to what it drives.
    void connect_output(IrqLine::Listener listener) { output_.connect(std::move(listener)); }

    bool pending() const override { return output(chips_[0]); }
    u8 acknowledge() override;

    const char* name() const override { return "pic8259"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    struct Chip {
        // Bit n: input n. What a 8259A holds at power-on is not defined; all masked is what harms a guest least that
        // enables interrupts before it has set up the controller.
        u8 irr = 0, isr = 0, imr = 0xff, lines = 0, level = 0;
        u8 base = 0;       // ICW2: vector of input 0
        u8 lowest = 7;     // input of lowest priority
        u8 init_step = 0;  // next ICW: 0 none, 2, 3, 4
        bool want_icw4 = false, single = false, auto_eoi = false, rotate_on_auto_eoi = false;
        bool special_mask = false, special_fully_nested = false, read_isr = false, poll = false;
        bool level_triggered = false;  // ICW1.LTIM
    };

    static int highest(const Chip& chip, u8 bits);
    int request(const Chip& chip) const;
    bool output(const Chip& chip) const { return request(chip) >= 0; }
    void set_input(unsigned chip, unsigned input, bool level);
    // The inputs whose level counts, not their edge.
    static u8 by_level(const Chip& chip) { return chip.level_triggered ? 0xff : chip.level; }
    void take(Chip& chip, unsigned input);
    void update_outputs();
    u8 read_chip(Chip& chip, unsigned offset);
    void write_chip(Chip& chip, unsigned offset, u8 value);
    void write_edge_level(unsigned index, u8 value);
    void write_icw1(Chip& chip, u8 value);
    void write_ocw2(Chip& chip, u8 value);
    void write_ocw3(Chip& chip, u8 value);

    std::array<Chip, 2> chips_{};
    IrqLine output_;
};

}  // namespace dualvm::devices
