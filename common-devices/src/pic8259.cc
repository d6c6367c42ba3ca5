#include "dualvm/devices/pic8259.h"

#include "byte_ports.h"

namespace dualvm::devices {

namespace {

constexpr unsigned kCascade = 2;
constexpr u8 kSpurious = 7;
u8 bit(unsigned n) { return static_cast<u8>(1u << n); }

}  // namespace

IrqLine Pic8259Pair::line(unsigned irq) {
    return IrqLine([this, irq](bool level) {
        set_input(irq / 8, irq % 8, level);
        update_outputs();
    });
}

void Pic8259Pair::set_input(unsigned index, unsigned input, bool level) {
    Chip& chip = chips_[index];
    const bool was = (chip.lines & bit(input)) != 0;
    if (level) {
        chip.lines |= bit(input);
        if (!was || (by_level(chip) & bit(input)) != 0) chip.irr |= bit(input);
    } else {
        chip.lines &= static_cast<u8>(~bit(input));
        chip.irr &= static_cast<u8>(~bit(input));  // a request must stay high until it is acknowledged
    }
}

// The input of highest priority among `bits`: the one behind `lowest`, in a circle. -1 if there is none.
int Pic8259Pair::highest(const Chip& chip, u8 bits) {
    if (bits == 0) return -1;  // the common case: engines ask at every stop
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned input = (chip.lowest + i) & 7;
        if (bits & bit(input)) return static_cast<int>(input);
    }
    return -1;
}

// The input that would be acknowledged now, -1 if INT is not asserted. Inputs in service hold back those of equal and
// lower priority, "fully nested mode"; in special mask mode only those that are not masked do.
int Pic8259Pair::request(const Chip& chip) const {
    const int wanted = highest(chip, static_cast<u8>(chip.irr & ~chip.imr));
    if (wanted < 0) return -1;
    u8 in_service = chip.isr;
    if (chip.special_mask) in_service &= static_cast<u8>(~chip.imr);
    // Special fully nested mode: a slave in service is not locked out from the master's priority logic.
    if (&chip == &chips_[0] && chip.special_fully_nested && wanted == static_cast<int>(kCascade)) {
        in_service &= static_cast<u8>(~bit(kCascade));
    }
    const int served = highest(chip, in_service);
    if (served < 0) return wanted;
    const auto rank = [&](int input) { return (input - chip.lowest - 1) & 7; };
    return rank(wanted) < rank(served) ? wanted : -1;
}

// The slave's INT is the master's input 2; the master's is the pair's.
void Pic8259Pair::update_outputs() {
    set_input(0, kCascade, output(chips_[1]));
    output_.set(output(chips_[0]));
}

void Pic8259Pair::take(Chip& chip, unsigned input) {
    if ((by_level(chip) & bit(input)) == 0) chip.irr &= static_cast<u8>(~bit(input));
    if (!chip.auto_eoi) {
        chip.isr |= bit(input);
    } else if (chip.rotate_on_auto_eoi) {
        chip.lowest = static_cast<u8>(input);
    }
}

// INTA: a request that has gone meanwhile is answered with input 7, without setting its in-service bit (data sheet,
// "Default IR7").
u8 Pic8259Pair::acknowledge() {
    Chip &master = chips_[0], &slave = chips_[1];
    const int input = request(master);
    if (input < 0) return static_cast<u8>(master.base + kSpurious);
    take(master, static_cast<unsigned>(input));
    if (input != static_cast<int>(kCascade)) {
        update_outputs();
        return static_cast<u8>(master.base + input);
    }
    const int slave_input = request(slave);
    u8 vector = static_cast<u8>(slave.base + kSpurious);
    if (slave_input >= 0) {
        take(slave, static_cast<unsigned>(slave_input));
        vector = static_cast<u8>(slave.base + slave_input);
    }
    // The slave's INT falls and rises between two acknowledgements: a further request is a new edge.
    set_input(0, kCascade, false);
    update_outputs();
    return vector;
}

void Pic8259Pair::write_icw1(Chip& chip, u8 value) {
    // "The edge sense circuit is reset": inputs that are high make no request until they rise again. IMR is cleared,
    // priorities are 0 to 7, special mask mode is off, IRR is what is read (data sheet, "Initialization command word
    // 1").
    const u8 base = chip.base, lines = chip.lines, level = chip.level;
    chip = Chip{};
    chip.imr = 0;
    chip.base = base;
    chip.lines = lines;
    chip.level = level;
    chip.want_icw4 = (value & 1) != 0;
    chip.single = (value & 2) != 0;
    chip.level_triggered = (value & 8) != 0;
    chip.init_step = 2;
    chip.irr = lines & by_level(chip);
}

void Pic8259Pair::write_ocw2(Chip& chip, u8 value) {
    const auto level = static_cast<u8>(value & 7);
    // A non-specific EOI passes over in-service bits that are masked, in special mask mode.
    const int served = highest(chip, chip.special_mask ? static_cast<u8>(chip.isr & ~chip.imr) : chip.isr);
    const auto end_of_interrupt = [&](int input) { chip.isr &= static_cast<u8>(~bit(static_cast<unsigned>(input))); };
    switch (value >> 5) {
        case 0: chip.rotate_on_auto_eoi = false; break;
        case 4: chip.rotate_on_auto_eoi = true; break;
        case 1:  // non-specific EOI
        case 5:  // and rotate
            if (served >= 0) {
                end_of_interrupt(served);
                if (value >> 5 == 5) chip.lowest = static_cast<u8>(served);
            }
            break;
        case 3: end_of_interrupt(level); break;
        case 7:
            end_of_interrupt(level);
            chip.lowest = level;
            break;
        case 6: chip.lowest = level; break;
        default: break;  // 2: no operation
    }
}

void Pic8259Pair::write_ocw3(Chip& chip, u8 value) {
    if (value & 0x40) chip.special_mask = (value & 0x20) != 0;
    if (value & 2) chip.read_isr = (value & 1) != 0;
    chip.poll = (value & 4) != 0;
}

void Pic8259Pair::write_chip(Chip& chip, unsigned offset, u8 value) {
    if (offset == 0) {
        if (value & 0x10) {
            write_icw1(chip, value);
        } else if (value & 8) {
            write_ocw3(chip, value);
        } else {
            write_ocw2(chip, value);
        }
        return;
    }
    switch (chip.init_step) {
        case 2:
            chip.base = value & 0xf8;
            chip.init_step = chip.single ? (chip.want_icw4 ? 4 : 0) : 3;
            break;
        case 3:  // ICW3: how they are joined is wired
            chip.init_step = chip.want_icw4 ? 4 : 0;
            break;
        case 4:
            chip.auto_eoi = (value & 2) != 0;
            chip.special_fully_nested = (value & 0x10) != 0;
            chip.init_step = 0;
            break;
        default: chip.imr = value; break;
    }
}

u8 Pic8259Pair::read_chip(Chip& chip, unsigned offset) {
    if (chip.poll) {  // the read is the acknowledgement
        chip.poll = false;
        const int input = request(chip);
        if (input < 0) return 0;
        take(chip, static_cast<unsigned>(input));
        return static_cast<u8>(0x80 | input);
    }
    if (offset == 1) return chip.imr;
    return chip.read_isr ? chip.isr : chip.irr;
}

u64 Pic8259Pair::read(u64 offset, unsigned size) {
    return read_by_bytes(offset, size, [this](u64 at) {
        if (at >= kEdgeLevel) return chips_[(at - kEdgeLevel) & 1].level;
        const u8 byte = read_chip(chips_[at / kSlave], static_cast<unsigned>(at % kSlave));
        update_outputs();  // a poll acknowledges
        return byte;
    });
}

void Pic8259Pair::write(u64 offset, unsigned size, u64 value) {
    write_by_bytes(offset, size, value, [this](u64 at, u8 byte) {
        if (at >= kEdgeLevel) {
            write_edge_level(static_cast<unsigned>((at - kEdgeLevel) & 1), byte);
        } else {
            write_chip(chips_[at / kSlave], static_cast<unsigned>(at % kSlave), byte);
        }
        update_outputs();
    });
}

// IRQs 0, 1, 2, 8 and 13 are always edge-triggered (Intel 82371AB data sheet, "ELCR1", "ELCR2").
void Pic8259Pair::write_edge_level(unsigned index, u8 value) {
    Chip& chip = chips_[index];
    chip.level = static_cast<u8>(value & (index == 0 ? 0xf8 : 0xde));
    chip.irr |= static_cast<u8>(chip.lines & chip.level);
}

void Pic8259Pair::reset() {
    for (Chip& chip : chips_) {
        const u8 lines = chip.lines;
        chip = Chip{};
        chip.lines = lines;
    }
    update_outputs();
}

void Pic8259Pair::save(ArchiveWriter& out) const {
    out.tag("PIC ", 1);
    for (const Chip& c : chips_) {
        for (u8 v : {c.irr, c.isr, c.imr, c.lines, c.level, c.base, c.lowest, c.init_step}) out.put(v);
        for (bool v : {c.want_icw4, c.single, c.auto_eoi, c.rotate_on_auto_eoi, c.special_mask, c.special_fully_nested,
                       c.read_isr, c.poll, c.level_triggered}) {
            out.put(static_cast<u8>(v));
        }
    }
}

void Pic8259Pair::load(ArchiveReader& in) {
    in.expect("PIC ", 1);
    for (Chip& c : chips_) {
        for (u8* v : {&c.irr, &c.isr, &c.imr, &c.lines, &c.level, &c.base, &c.lowest, &c.init_step}) in.get(*v);
        for (bool* v : {&c.want_icw4, &c.single, &c.auto_eoi, &c.rotate_on_auto_eoi, &c.special_mask,
                        &c.special_fully_nested, &c.read_isr, &c.poll, &c.level_triggered}) {
            *v = in.get<u8>() != 0;
        }
        if (c.lowest > 7 || c.init_step > 4) in.set_bad();
    }
    if (!in.ok()) {
        for (Chip& c : chips_) c = Chip{};
    }
    output_.set(output(chips_[0]));
}

}  // namespace dualvm::devices
