// 16550A UART (National Semiconductor PC16550D data sheet): 8 registers, 16-byte FIFOs, four kinds of interrupt.
//
// Characters leave at once (the host is infinitely fast), so the transmitter is always empty and its FIFO never holds
// anything. What arrives from outside waits in a host-side queue without bound and enters the receive FIFO as the guest
// makes room, so nothing that is typed overruns; a guest that resets its FIFO loses only what is in it.
#pragma once

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "dualvm/clock.h"
#include "dualvm/irq_line.h"
#include "dualvm/vio.h"

namespace dualvm::devices {

class Uart16550 final : public Device {
public:
    using Sink = std::function<void(u8)>;
    Uart16550(Clock& clock, IrqLine irq, Sink output);

    // From outside, for the guest to read.
    void receive(std::span<const u8> bytes);
    // Bytes that the guest has not read yet, in the FIFO or waiting for it.
    std::size_t waiting() const { return fifo_count_ + outside_.size() - outside_next_; }
    // True if a character from outside would raise an interrupt.
    bool interrupts_on_input() const;

    const char* name() const override { return "uart16550"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    static constexpr u8 kFifoSize = 16;

    void power_on_state();
    u8 read_register(unsigned offset);
    void write_register(unsigned offset, u8 value);
    u8 read_data();
    u8 read_identification();
    void write_fifo_control(u8 value);
    void write_modem_control(u8 value);
    bool dlab() const { return (lcr_ & 0x80) != 0; }
    bool fifo_enabled() const { return (fcr_ & 1) != 0; }
    bool loopback() const { return (mcr_ & 0x10) != 0; }
    u8 capacity() const { return fifo_enabled() ? kFifoSize : 1; }
    u8 trigger_level() const;
    u8 line_status() const;
    u8 modem_status() const;
    u8 interrupt_identification() const;
    Nanoseconds character_time() const;
    void transmit(u8 byte);
    void push(u8 byte);
    void clear_fifo();
    void refill();
    void restart_timeout();
    void update_interrupt();

    IrqLine irq_;
    Sink output_;
    Clock& clock_;
    Timer timeout_;            // characters wait below the trigger level for four character times
    std::vector<u8> outside_;  // the host-side queue; what is before outside_next_ has entered the FIFO
    std::size_t outside_next_ = 0;
    std::array<u8, kFifoSize> fifo_{};  // a ring; without FIFO mode, one place of it is the receiver buffer
    u8 fifo_first_ = 0, fifo_count_ = 0;
    u16 divisor_ = 12;
    u8 ier_ = 0, fcr_ = 0, lcr_ = 0, mcr_ = 0, scratch_ = 0, modem_delta_ = 0;
    bool overrun_ = false, transmit_interrupt_ = false, timed_out_ = false;
};

}  // namespace dualvm::devices
