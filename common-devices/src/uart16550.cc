#include "dualvm/devices/uart16550.h"

#include <utility>

#include "byte_ports.h"
#include "saved_time.h"

namespace dualvm::devices {

namespace {

// Register offsets (PC16550D data sheet, "Registers") and their bits.
enum : unsigned { kData = 0, kIer = 1, kIirFcr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScratch = 7 };
enum : u8 { kIerReceive = 1, kIerTransmit = 2, kIerLine = 4, kIerModem = 8 };
enum : u8 { kIirNone = 1, kIirModem = 0, kIirTransmit = 2, kIirReceive = 4, kIirTimeout = 0xc, kIirLine = 6 };
enum : u8 { kFcrEnable = 1, kFcrClearReceiver = 2, kFcrKept = 0xc9 };
enum : u8 { kLsrData = 1, kLsrOverrun = 2, kLsrTransmitEmpty = 0x60 };
enum : u8 { kMcrDtr = 1, kMcrRts = 2, kMcrOut1 = 4, kMcrOut2 = 8 };
enum : u8 { kMsrCts = 0x10, kMsrDsr = 0x20, kMsrRing = 0x40, kMsrCarrier = 0x80 };

constexpr u64 kCrystalHertz = 1'843'200;  // of the PC; divided by 16 and by the divisor latch it is the baud rate

}  // namespace

Uart16550::Uart16550(Clock& clock, IrqLine irq, Sink output)
    : irq_(std::move(irq)), output_(std::move(output)), clock_(clock), timeout_(clock, [this] {
          timed_out_ = fifo_count_ != 0;
          update_interrupt();
      }) {}

void Uart16550::reset() {
    power_on_state();
    refill();
}

// What waits outside is the other end's, which has not been reset.
void Uart16550::power_on_state() {
    clear_fifo();
    divisor_ = 12;  // 9600 baud, as a BIOS leaves it
    ier_ = fcr_ = lcr_ = mcr_ = scratch_ = modem_delta_ = 0;
    overrun_ = transmit_interrupt_ = false;
}

u8 Uart16550::trigger_level() const {
    if (!fifo_enabled()) return 1;
    constexpr std::array<u8, 4> kLevels = {1, 4, 8, 14};
    return kLevels[fcr_ >> 6];
}

u8 Uart16550::line_status() const {
    return static_cast<u8>((fifo_count_ == 0 ? 0 : kLsrData) | (overrun_ ? kLsrOverrun : 0) | kLsrTransmitEmpty);
}

// In loopback the modem's inputs are our own outputs: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD (data
// sheet, "MODEM Control Register"). Otherwise a modem that is always ready is at the other end.
u8 Uart16550::modem_status() const {
    if (!loopback()) return kMsrCts | kMsrDsr | kMsrCarrier;
    return static_cast<u8>(((mcr_ & kMcrRts) ? kMsrCts : 0) | ((mcr_ & kMcrDtr) ? kMsrDsr : 0) |
                           ((mcr_ & kMcrOut1) ? kMsrRing : 0) | ((mcr_ & kMcrOut2) ? kMsrCarrier : 0));
}

// Priorities: line status, received data, character timeout, transmitter empty, modem status (data sheet, "Interrupt
// Identification Register").
u8 Uart16550::interrupt_identification() const {
    u8 id = kIirNone;
    if ((ier_ & kIerLine) && overrun_) {
        id = kIirLine;
    } else if ((ier_ & kIerReceive) && fifo_count_ >= trigger_level()) {
        id = kIirReceive;
    } else if ((ier_ & kIerReceive) && timed_out_) {
        id = kIirTimeout;
    } else if ((ier_ & kIerTransmit) && transmit_interrupt_) {
        id = kIirTransmit;
    } else if ((ier_ & kIerModem) && modem_delta_ != 0) {
        id = kIirModem;
    }
    return static_cast<u8>(id | (fifo_enabled() ? 0xc0 : 0));
}

// The PC gates the interrupt with OUT2, which loopback holds inactive.
void Uart16550::update_interrupt() {
    irq_.set((mcr_ & kMcrOut2) != 0 && !loopback() && (interrupt_identification() & kIirNone) == 0);
}

bool Uart16550::interrupts_on_input() const {
    return (ier_ & kIerReceive) != 0 && (mcr_ & kMcrOut2) != 0 && !loopback();
}

// Start bit, 5 to 8 data bits, parity if enabled, 1 or 2 stop bits (data sheet, "Line Control Register").
Nanoseconds Uart16550::character_time() const {
    const unsigned bits = 1u + 5 + (lcr_ & 3) + ((lcr_ & 8) ? 1 : 0) + ((lcr_ & 4) ? 2 : 1);
    const u64 divisor = divisor_ == 0 ? 0x10000 : divisor_;
    return bits * 16 * divisor * 1'000'000'000 / kCrystalHertz;
}

// The character timeout: at least one character is in the FIFO, and none has come or been read for four character
// times (data sheet, "FIFO Interrupt Mode Operation"). Once it shows, only reading a character takes it back. Above the
// trigger level the interrupt is there already and no alarm is needed.
void Uart16550::restart_timeout() {
    if (timed_out_) return;
    if (!fifo_enabled() || fifo_count_ == 0 || fifo_count_ >= trigger_level()) {
        timeout_.disarm();
    } else {
        timeout_.arm(clock_.now() + 4 * character_time());
    }
}

void Uart16550::clear_fifo() {
    fifo_first_ = fifo_count_ = 0;
    timed_out_ = false;
    timeout_.disarm();
}

void Uart16550::refill() {
    bool came = false;
    while (fifo_count_ < capacity() && outside_next_ < outside_.size()) {
        push(outside_[outside_next_++]);
        came = true;
    }
    if (came) restart_timeout();
    update_interrupt();
}

void Uart16550::receive(std::span<const u8> bytes) {
    outside_.erase(outside_.begin(), outside_.begin() + static_cast<std::ptrdiff_t>(outside_next_));
    outside_next_ = 0;
    outside_.insert(outside_.end(), bytes.begin(), bytes.end());
    if (!loopback()) refill();
}

void Uart16550::push(u8 byte) {
    fifo_[(fifo_first_ + fifo_count_) % kFifoSize] = byte;
    ++fifo_count_;
}

void Uart16550::transmit(u8 byte) {
    if (!loopback()) {
        if (output_) output_(byte);
    } else if (fifo_count_ < capacity()) {
        push(byte);
        restart_timeout();
    } else {
        // In loopback nobody waits. A full FIFO keeps what it has; the single receiver buffer is overwritten
        // (data sheet, "Line Status Register", OE).
        overrun_ = true;
        if (!fifo_enabled()) fifo_[fifo_first_] = byte;
    }
    transmit_interrupt_ = false;  // writing THR answers the interrupt ...
    update_interrupt();
    transmit_interrupt_ = true;  // ... and as the character left at once, a new one follows
    update_interrupt();
}

u8 Uart16550::read_data() {
    if (fifo_count_ == 0) return 0;
    const u8 byte = fifo_[fifo_first_];
    fifo_first_ = static_cast<u8>((fifo_first_ + 1) % kFifoSize);
    --fifo_count_;
    timed_out_ = false;
    restart_timeout();
    if (loopback()) {
        update_interrupt();
    } else {
        refill();
    }
    return byte;
}

// Reading IIR answers the transmitter's interrupt if that is the one it shows (data sheet, "Interrupt
// Identification Register").
u8 Uart16550::read_identification() {
    const u8 id = interrupt_identification();
    if ((id & 0xf) == kIirTransmit) {
        transmit_interrupt_ = false;
        update_interrupt();
    }
    return id;
}

u8 Uart16550::read_register(unsigned offset) {
    switch (offset) {
        case kData: return dlab() ? static_cast<u8>(divisor_) : read_data();
        case kIer: return dlab() ? static_cast<u8>(divisor_ >> 8) : ier_;
        case kIirFcr: return read_identification();
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

void Uart16550::write_fifo_control(u8 value) {
    // Changing FIFO mode empties the FIFO; bit 0 must be 1 when other bits are written or they do not take
    // (data sheet, "FIFO Control Register").
    const bool switched = ((value ^ fcr_) & kFcrEnable) != 0;
    const bool enabled = (value & kFcrEnable) != 0;
    if (switched || (enabled && (value & kFcrClearReceiver) != 0)) clear_fifo();
    fcr_ = enabled ? value & kFcrKept : 0;
    restart_timeout();  // the trigger level may be another
    if (loopback()) {
        update_interrupt();
    } else {
        refill();
    }
}

void Uart16550::write_modem_control(u8 value) {
    const u8 before = modem_status();
    mcr_ = value & 0x1f;
    const u8 changed = before ^ modem_status();
    // Deltas: CTS, DSR and DCD on any change, RI on its trailing edge (data sheet, "MODEM Status Register").
    modem_delta_ |= static_cast<u8>((changed >> 4) & 0xb);
    if ((changed & kMsrRing) && (before & kMsrRing)) modem_delta_ |= 4;
    if (loopback()) {
        update_interrupt();
    } else {
        refill();
    }
}

void Uart16550::write_register(unsigned offset, u8 value) {
    switch (offset) {
        case kData:
            if (dlab()) {
                divisor_ = static_cast<u16>((divisor_ & 0xff00) | value);
            } else {
                transmit(value);
            }
            break;
        case kIer:
            if (dlab()) {
                divisor_ = static_cast<u16>((divisor_ & 0x00ff) | value << 8);
                break;
            }
            // Enabling the interrupt while the transmitter is empty raises it.
            if ((value & kIerTransmit) && !(ier_ & kIerTransmit)) transmit_interrupt_ = true;
            ier_ = value & 0xf;
            update_interrupt();
            break;
        case kIirFcr: write_fifo_control(value); break;
        case kLcr: lcr_ = value; break;
        case kMcr: write_modem_control(value); break;
        case kScratch: scratch_ = value; break;
        default: break;  // LSR and MSR: factory tests only
    }
}

u64 Uart16550::read(u64 offset, unsigned size) {
    return read_by_bytes(offset, size, [this](u64 at) { return read_register(static_cast<unsigned>(at & 7)); });
}

void Uart16550::write(u64 offset, unsigned size, u64 value) {
    write_by_bytes(offset, size, value,
                   [this](u64 at, u8 byte) { write_register(static_cast<unsigned>(at & 7), byte); });
}

void Uart16550::save(ArchiveWriter& out) const {
    out.tag("UART", 1);
    out.put(static_cast<u32>(outside_.size() - outside_next_));
    out.put_bytes(outside_.data() + outside_next_, outside_.size() - outside_next_);
    out.put_bytes(fifo_.data(), fifo_.size());
    for (u8 value : {fifo_first_, fifo_count_}) out.put(value);
    out.put(divisor_);
    for (u8 value : {ier_, fcr_, lcr_, mcr_, scratch_, modem_delta_}) out.put(value);
    for (bool value : {overrun_, transmit_interrupt_, timed_out_}) out.put(static_cast<u8>(value));
    put_deadline(out, clock_, timeout_.deadline());
}

void Uart16550::load(ArchiveReader& in) {
    power_on_state();  // the interrupt line moves once, at the end: the controller must see no edge that was none
    in.expect("UART", 1);
    outside_.clear();
    outside_next_ = 0;
    const u32 count = in.get<u32>();
    for (u32 i = 0; i < count && in.ok(); ++i) outside_.push_back(in.get<u8>());
    in.get_bytes(fifo_.data(), fifo_.size());
    for (u8* value : {&fifo_first_, &fifo_count_}) in.get(*value);
    in.get(divisor_);
    for (u8* value : {&ier_, &fcr_, &lcr_, &mcr_, &scratch_, &modem_delta_}) in.get(*value);
    for (bool* value : {&overrun_, &transmit_interrupt_, &timed_out_}) *value = in.get<u8>() != 0;
    const Nanoseconds deadline = get_deadline(in, clock_);
    if (fifo_first_ >= kFifoSize || fifo_count_ > capacity()) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    timeout_.arm(deadline);
    update_interrupt();
}

}  // namespace dualvm::devices
