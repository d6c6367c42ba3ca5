#include "dualvm/devices/uart16550.h"

#include <utility>

namespace dualvm::devices {

namespace {

// Register offsets (PC16550D data sheet, table II).
enum : unsigned { kData = 0, kIer = 1, kIirFcr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScratch = 7 };
enum : u8 { kIerReceive = 1, kIerTransmit = 2, kIerLine = 4, kIerModem = 8 };
enum : u8 { kIirNone = 1, kIirModem = 0, kIirTransmit = 2, kIirReceive = 4, kIirTimeout = 0xc, kIirLine = 6 };
enum : u8 { kLsrData = 1, kLsrOverrun = 2, kLsrTransmitEmpty = 0x60 };
enum : u8 { kMcrDtr = 1, kMcrRts = 2, kMcrOut1 = 4, kMcrOut2 = 8 };
enum : u8 { kMsrCts = 0x10, kMsrDsr = 0x20, kMsrRing = 0x40, kMsrCarrier = 0x80 };

}  // namespace

Uart16550::Uart16550(Clock& clock, IrqLine irq, Sink output)
    : irq_(std::move(irq)), output_(std::move(output)), clock_(clock), timeout_(clock, [this] {
          timed_out_ = !fifo_.empty();
          update_interrupt();
      }) {}

void Uart16550::reset() {
    outside_.clear();
    fifo_.clear();
    timeout_.disarm();
    divisor_ = 12;  // 9600 baud, as a BIOS leaves it
    ier_ = fcr_ = lcr_ = mcr_ = scratch_ = modem_delta_ = 0;
    overrun_ = transmit_interrupt_ = timed_out_ = false;
    update_interrupt();
}

std::size_t Uart16550::trigger_level() const {
    if (!fifo_enabled()) return 1;
    constexpr std::array<std::size_t, 4> kLevels = {1, 4, 8, 14};
    return kLevels[fcr_ >> 6];
}

u8 Uart16550::line_status() const {
    return static_cast<u8>((fifo_.empty() ? 0 : kLsrData) | (overrun_ ? kLsrOverrun : 0) | kLsrTransmitEmpty);
}

// In loopback the modem's inputs are our own outputs: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD. Otherwise a
// modem that is always ready is at the other end.
u8 Uart16550::modem_status() const {
    if (!loopback()) return kMsrCts | kMsrDsr | kMsrCarrier;
    return static_cast<u8>(((mcr_ & kMcrRts) ? kMsrCts : 0) | ((mcr_ & kMcrDtr) ? kMsrDsr : 0) |
                           ((mcr_ & kMcrOut1) ? kMsrRing : 0) | ((mcr_ & kMcrOut2) ? kMsrCarrier : 0));
}

// Priorities: line status, received data, character timeout, transmitter empty, modem status (data sheet, table V).
u8 Uart16550::interrupt_identification() const {
    const u8 fifo_bits = fifo_enabled() ? 0xc0 : 0;
    u8 id = kIirNone;
    if ((ier_ & kIerLine) && overrun_) {
        id = kIirLine;
    } else if ((ier_ & kIerReceive) && fifo_.size() >= trigger_level()) {
        id = kIirReceive;
    } else if ((ier_ & kIerReceive) && timed_out_) {
        id = kIirTimeout;
    } else if ((ier_ & kIerTransmit) && transmit_interrupt_) {
        id = kIirTransmit;
    } else if ((ier_ & kIerModem) && modem_delta_ != 0) {
        id = kIirModem;
    }
    return static_cast<u8>(id | fifo_bits);
}

// The PC gates the interrupt with OUT2.
void Uart16550::update_interrupt() {
    irq_.set((mcr_ & kMcrOut2) != 0 && !loopback() && (interrupt_identification() & kIirNone) == 0);
}

// "At least one character is in the FIFO and none has come or been read for four character times."
void Uart16550::arm_timeout() {
    timed_out_ = false;
    if (!fifo_enabled() || fifo_.empty() || fifo_.size() >= trigger_level()) {
        timeout_.disarm();
        return;
    }
    const u64 divisor = divisor_ == 0 ? 0x10000 : divisor_;
    const Nanoseconds character = 10 * 16 * divisor * 1'000'000'000 / 1'843'200;
    timeout_.arm(clock_.now() + 4 * character);
}

void Uart16550::refill() {
    while (fifo_.size() < capacity() && !outside_.empty()) {
        fifo_.push_back(outside_.front());
        outside_.pop_front();
    }
    arm_timeout();
    update_interrupt();
}

bool Uart16550::interrupts_on_input() const {
    return (ier_ & kIerReceive) != 0 && (mcr_ & kMcrOut2) != 0 && !loopback();
}

void Uart16550::receive(std::span<const u8> bytes) {
    outside_.insert(outside_.end(), bytes.begin(), bytes.end());
    if (!loopback()) refill();
}

// A character that comes round in loopback, where nobody waits if the FIFO is full.
void Uart16550::accept(u8 byte) {
    if (fifo_.size() >= capacity()) {
        overrun_ = true;
        if (!fifo_enabled()) fifo_.back() = byte;
    } else {
        fifo_.push_back(byte);
    }
    arm_timeout();
}

void Uart16550::transmit(u8 byte) {
    if (loopback()) {
        accept(byte);
    } else if (output_) {
        output_(byte);
    }
    transmit_interrupt_ = true;  // it left at once: empty again
    update_interrupt();
}

u8 Uart16550::read_register(unsigned offset) {
    switch (offset) {
        case kData: {
            if (dlab()) return static_cast<u8>(divisor_);
            if (fifo_.empty()) return 0;
            const u8 byte = fifo_.front();
            fifo_.pop_front();
            if (loopback()) {
                arm_timeout();
                update_interrupt();
            } else {
                refill();
            }
            return byte;
        }
        case kIer: return dlab() ? static_cast<u8>(divisor_ >> 8) : ier_;
        case kIirFcr: {
            const u8 id = interrupt_identification();
            if ((id & 0xf) == kIirTransmit) {  // reading it answers it
                transmit_interrupt_ = false;
                update_interrupt();
            }
            return id;
        }
        case kLcr: return lcr_;
        case kMcr: return mcr_;
        case kLsr: {
            const u8 status = line_status();
            overrun_ = false;
            update_interrupt();
            return status;
        }
        case kMsr: {
            const auto status = static_cast<u8>(modem_status() | modem_delta_);
            modem_delta_ = 0;
            update_interrupt();
            return status;
        }
        default: return scratch_;
    }
}

void Uart16550::write_register(unsigned offset, u8 value) {
    switch (offset) {
        case kData:
            if (dlab()) {
                divisor_ = static_cast<u16>((divisor_ & 0xff00) | value);
            } else {
                transmit_interrupt_ = false;
                transmit(value);
            }
            return;
        case kIer:
            if (dlab()) {
                divisor_ = static_cast<u16>((divisor_ & 0x00ff) | value << 8);
                return;
            }
            // Enabling the interrupt while the transmitter is empty raises it.
            if ((value & kIerTransmit) && !(ier_ & kIerTransmit)) transmit_interrupt_ = true;
            ier_ = value & 0xf;
            break;
        case kIirFcr:
            if (((value ^ fcr_) & 1) != 0 || (value & 2) != 0) {  // turning FIFOs on or off empties them
                fifo_.clear();
                timed_out_ = false;
            }
            fcr_ = value & 0xc9;
            refill();
            return;
        case kLcr: lcr_ = value; return;
        case kMcr: {
            const u8 before = modem_status();
            mcr_ = value & 0x1f;
            const u8 changed = before ^ modem_status();
            // Deltas: CTS, DSR and DCD on any change, RI on its trailing edge.
            modem_delta_ |= static_cast<u8>((changed >> 4) & 0xb);
            if ((changed & kMsrRing) && (before & kMsrRing)) modem_delta_ |= 4;
            if (!loopback()) {
                refill();
                return;
            }
            break;
        }
        case kScratch: scratch_ = value; return;
        default: return;  // LSR and MSR: factory tests only
    }
    update_interrupt();
}

u64 Uart16550::read(u64 offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{read_register(static_cast<unsigned>(offset + i) & 7)} << (8 * i);
    return value;
}

void Uart16550::write(u64 offset, unsigned size, u64 value) {
    for (unsigned i = 0; i < size; ++i) {
        write_register(static_cast<unsigned>(offset + i) & 7, static_cast<u8>(value >> (8 * i)));
    }
}

void Uart16550::save(ArchiveWriter& out) const {
    out.tag("UART", 1);
    for (const auto* queue : {&outside_, &fifo_}) {
        out.put(static_cast<u32>(queue->size()));
        for (u8 byte : *queue) out.put(byte);
    }
    out.put(divisor_);
    for (u8 value : {ier_, fcr_, lcr_, mcr_, scratch_, modem_delta_}) out.put(value);
    for (bool value : {overrun_, transmit_interrupt_, timed_out_}) out.put(static_cast<u8>(value));
    out.put(timeout_.deadline());
}

void Uart16550::load(ArchiveReader& in) {
    if (!in.expect("UART", 1)) return;
    for (auto* queue : {&outside_, &fifo_}) {
        queue->clear();
        const u32 count = in.get<u32>();
        for (u32 i = 0; i < count && in.ok(); ++i) queue->push_back(in.get<u8>());
    }
    in.get(divisor_);
    for (u8* value : {&ier_, &fcr_, &lcr_, &mcr_, &scratch_, &modem_delta_}) in.get(*value);
    for (bool* value : {&overrun_, &transmit_interrupt_, &timed_out_}) *value = in.get<u8>() != 0;
    timeout_.arm(in.get<Nanoseconds>());
    if (fifo_.size() > kFifoSize) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    update_interrupt();
}

}  // namespace dualvm::devices
