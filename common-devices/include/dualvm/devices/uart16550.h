// 16550A UART (National Semiconductor PC16550D data sheet): 8 registers, 16-byte FIFOs, four kinds of interrupt.
//
// Characters leave at once (the host is infinitely fast); what arrives from outside waits in a host-side queue without
// bound and enters the receive FIFO as the guest makes room, so nothing that is typed gets lost.
#pragma once

#include <deque>
#include <functional>
#include <span>

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
    std::size_t waiting() const { return fifo_.size() + outside_.size(); }
    // True if a character from outside would raise an interrupt.
    bool interrupts_on_input() const;

    const char* name() const override { return "uart16550"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    static constexpr std::size_t kFifoSize = 16;

    u8 read_register(unsigned offset);
    void write_register(unsigned offset, u8 value);
    bool dlab() const { return (lcr_ & 0x80) != 0; }
    bool fifo_enabled() const { return (fcr_ & 1) != 0; }
    bool loopback() const { return (mcr_ & 0x10) != 0; }
    std::size_t capacity() const { return fifo_enabled() ? kFifoSize : 1; }
    std::size_t trigger_level() const;
    u8 line_status() const;
    u8 modem_status() const;
    u8 interrupt_identification() const;
    void transmit(u8 byte);
    void accept(u8 byte);
    void refill();
    void arm_timeout();
    void update_interrupt();

    IrqLine irq_;
    Sink output_;
    Clock& clock_;
    Timer timeout_;  // characters wait below the trigger level for four character times
    std::deque<u8> outside_, fifo_;
    u16 divisor_ = 12;
    u8 ier_ = 0, fcr_ = 0, lcr_ = 0, mcr_ = 0, scratch_ = 0, modem_delta_ = 0;
    bool overrun_ = false, transmit_interrupt_ = false, timed_out_ = false;
};

}  // namespace dualvm::devices
