#include "dualvm/devices/local_apic.h"

#include <bit>
#include <utility>

#include "saved_time.h"

namespace dualvm::devices {

namespace {

// Offsets of the registers (table 10-1), each 32 bits wide on a 16-byte boundary.
enum : u64 {
    kId = 0x20,
    kVersion = 0x30,
    kTaskPriority = 0x80,
    kArbitrationPriority = 0x90,
    kProcessorPriority = 0xa0,
    kEndOfInterrupt = 0xb0,
    kLogicalDestination = 0xd0,
    kDestinationFormat = 0xe0,
    kSpurious = 0xf0,
    kIsr = 0x100,
    kTmr = 0x180,
    kIrr = 0x200,
    kErrorStatus = 0x280,
    kCommandLow = 0x300,
    kCommandHigh = 0x310,
    kLvtFirst = 0x320,
    kLvtLast = 0x370,
    kInitialCount = 0x380,
    kCurrentCount = 0x390,
    kDivide = 0x3e0,
};

constexpr u32 kVersionValue = 0x14 | 5u << 16;  // integrated; the highest LVT entry is number 5

// Local vector table (figure 10-8).
constexpr u32 kVectorMask = 0xff, kRemoteIrr = 1u << 14, kLevel = 1u << 15, kMasked = 1u << 16;
constexpr unsigned kModeShift = 8;
// Which bits of each entry can be written: timer, thermal, performance, LINT0, LINT1, error.
constexpr std::array<u32, 6> kLvtWritable = {0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};

constexpr u32 kErrorSendIllegal = 1u << 5, kErrorReceivedIllegal = 1u << 6, kErrorIllegalRegister = 1u << 7;  // 10.5.3
constexpr u8 kFirstLegalVector = 16;
constexpr u8 kBroadcast = 0xff;
constexpr u64 kBaseMask = 0xffffffffff000, kBootstrapProcessor = 1u << 8;

u8 mode_of(u32 entry) { return static_cast<u8>(entry >> kModeShift & 7); }

}  // namespace

void LocalApic::Vectors::set(u8 v, bool on) {
    const u32 bit = 1u << (v % 32);
    words_[v / 32] = on ? words_[v / 32] | bit : words_[v / 32] & ~bit;
}

int LocalApic::Vectors::highest() const {
    for (int i = 7; i >= 0; --i) {
        const u32 word = words_[static_cast<std::size_t>(i)];
        if (word != 0) return 32 * i + 31 - std::countl_zero(word);
    }
    return -1;
}

LocalApic::LocalApic(Machine& machine, InterruptSource& pic, AfterReset after_reset)
    : machine_(machine), pic_(pic), after_reset_(after_reset), timer_(machine.clock(), [this] { timer_due(); }) {
    LocalApic::reset();
}

LocalApic::~LocalApic() { unmap(); }

void LocalApic::reset() {  // 10.4.7.1
    id_ = logical_destination_ = 0;
    destination_format_ = 0xffffffff;
    spurious_ = 0xff;
    tpr_ = 0;
    isr_.clear();
    irr_.clear();
    tmr_.clear();
    errors_ = errors_seen_ = 0;
    command_low_ = command_high_ = 0;
    lvt_.fill(kMasked);
    divide_ = initial_count_ = 0;
    counting_ = false;
    timer_.disarm();
    if (after_reset_ == AfterReset::VirtualWire) {
        spurious_ |= kSoftwareEnable;
        lvt_[kLint0] = kLevel | apic_delivery::ExtInt << kModeShift;
        lvt_[kLint1] = kLevel | apic_delivery::Nmi << kModeShift;
    }
    set_apic_base(kUsualBase | kGlobalEnable | kBootstrapProcessor);
}

// --- the page of registers --------------------------------------------------------------------------------------

// Where another device answers already, the APIC is not seen. (RAM at that place would be seen, too.)
void LocalApic::map(u64 base) {
    mapped_ = machine_.vio().mmio().add(base, kSize, *this).has_value();
    mapped_at_ = base;
}

bool LocalApic::unmap() {
    if (mapped_) machine_.vio().mmio().remove(mapped_at_);
    return std::exchange(mapped_, false);
}

// 10.4.3, 10.4.4. Disabled, it is as if it were not there: its pins are the CPU's INTR and NMI again.
void LocalApic::set_apic_base(u64 value) {
    const u64 at = value & kBaseMask;
    const bool was_enabled = enabled();
    base_ = value;
    if (!enabled()) {
        unmap();
    } else if (!mapped_ || mapped_at_ != at) {
        unmap();
        map(at);
    }
    if (was_enabled && !enabled()) {
        isr_.clear();
        irr_.clear();
        counting_ = false;
    }
    // The same value comes with each push of an engine's MSRs, and between a timer's end and its interrupt, too.
    if (was_enabled != enabled()) schedule();
    update();
}

u32 LocalApic::read_register(u64 offset) {
    if (offset >= kIsr && offset < kErrorStatus) {
        const Vectors& set = offset < kTmr ? isr_ : offset < kIrr ? tmr_ : irr_;
        return set.word((offset & 0x7f) >> 4);
    }
    if (offset >= kLvtFirst && offset <= kLvtLast) return lvt_[(offset - kLvtFirst) >> 4];
    switch (offset) {
        case kId: return id_;
        case kVersion: return kVersionValue;
        case kTaskPriority: return tpr_;
        case kArbitrationPriority: return 0;  // of no use since the Pentium 4; reads as 0 there
        case kProcessorPriority: return processor_priority();
        case kEndOfInterrupt: return 0;
        case kLogicalDestination: return logical_destination_;
        case kDestinationFormat: return destination_format_;
        case kSpurious: return spurious_;
        case kErrorStatus: return errors_seen_;
        case kCommandLow: return command_low_;
        case kCommandHigh: return command_high_;
        case kInitialCount: return initial_count_;
        case kCurrentCount: return current_count();
        case kDivide: return divide_;
        default: error(kErrorIllegalRegister); return 0;
    }
}

// The four bytes at the start of each 16 are the register; only whole aligned ones may be accessed (10.4.1). A load
// that is smaller gets its part.
u64 LocalApic::read(u64 offset, unsigned) {
    const u64 part = offset & 0xf;
    if (part >= 4) return 0;
    return read_register(offset & ~u64{0xf}) >> (8 * part);
}

void LocalApic::write(u64 offset, unsigned size, u64 value) {
    if (size != 4 || (offset & 0xf) != 0) return;
    write_register(offset, static_cast<u32>(value));
    update();
}

void LocalApic::write_register(u64 offset, u32 value) {
    if (offset >= kLvtFirst && offset <= kLvtLast) {
        write_lvt(static_cast<LvtEntry>((offset - kLvtFirst) >> 4), value);
        return;
    }
    switch (offset) {
        case kId: id_ = value & 0xff000000; break;
        case kTaskPriority: tpr_ = static_cast<u8>(value); break;
        case kEndOfInterrupt: end_interrupt(); break;
        case kLogicalDestination: logical_destination_ = value & 0xff000000; break;
        case kDestinationFormat: destination_format_ = value | 0x0fffffff; break;
        case kSpurious: write_spurious(value); break;
        case kErrorStatus:  // a write, of whatever, shows what has gathered (10.5.3)
            errors_seen_ = std::exchange(errors_, 0);
            break;
        case kCommandLow:
            command_low_ = value & 0xccfff;  // the delivery status is always idle
            send(command_low_);
            break;
        case kCommandHigh: command_high_ = value & 0xff000000; break;
        case kInitialCount:
            end_what_is_due();
            start_timer(value, value, 0);
            break;
        case kDivide: {
            end_what_is_due();
            const u32 current = current_count();
            const Nanoseconds into = into_tick();
            divide_ = value & 0xb;
            start_timer(initial_count_, current, into);
            break;
        }
        case kVersion:
        case kArbitrationPriority:
        case kProcessorPriority:
        case kCurrentCount: break;  // read-only
        default:
            if (offset < kIsr || offset >= kErrorStatus) error(kErrorIllegalRegister);
    }
}

void LocalApic::write_lvt(LvtEntry entry, u32 value) {
    if (entry == kTimer) end_what_is_due();
    const u32 current = current_count();
    const Nanoseconds into = into_tick();
    u32& e = lvt_[entry];
    const bool was_periodic = periodic();
    e = (value & kLvtWritable[entry]) | (e & kRemoteIrr);
    // While it is disabled by software, all entries stay masked (10.4.7.2).
    if (!software_enabled()) e |= kMasked;
    if ((e & kLevel) == 0) e &= ~kRemoteIrr;
    if (entry == kTimer && periodic() != was_periodic) {
        start_timer(initial_count_, current, into);
    } else if (entry == kTimer) {
        schedule();
    }
    if (entry == kLint0 || entry == kLint1) set_pin(entry - kLint0, pin_[entry - kLint0]);
}

void LocalApic::write_spurious(u32 value) {
    end_what_is_due();
    spurious_ = value & 0x3ff;
    if (software_enabled()) return;
    for (u32& entry : lvt_) entry |= kMasked;
    schedule();
}

// --- interrupts on their way to the CPU ------------------------------------------------------------------------

// 10.8.3.1: the higher of the task's priority and that of the interrupt in service.
u8 LocalApic::processor_priority() const {
    const int in_service = isr_.highest();
    const auto isr_class = static_cast<u8>(in_service < 0 ? 0 : in_service & 0xf0);
    return (tpr_ & 0xf0) >= isr_class ? tpr_ : isr_class;
}

// Works out what the CPU sees on its INTR pin.
void LocalApic::update() {
    if (!enabled()) {
        intr_ = pin_[0];
        return;
    }
    const u32 lint0 = lvt_[kLint0];
    const bool external = pin_[0] && (lint0 & kMasked) == 0 && mode_of(lint0) == apic_delivery::ExtInt;
    const int requested = irr_.highest();
    intr_ = external || (requested >= 0 && (requested & 0xf0) > (processor_priority() & 0xf0));
}

// The CPU's acknowledgement. Interrupts through LINT0 as ExtINT know no priority: the 8259A gives the vector.
u8 LocalApic::acknowledge() {
    const u32 lint0 = lvt_[kLint0];
    const bool external =
        pin_[0] && (!enabled() || ((lint0 & kMasked) == 0 && mode_of(lint0) == apic_delivery::ExtInt));
    if (external) {
        const u8 vector = pic_.acknowledge();
        update();
        return vector;
    }
    const int requested = irr_.highest();
    if (requested < 0 || (requested & 0xf0) <= (processor_priority() & 0xf0)) {
        return static_cast<u8>(spurious_);  // 10.9
    }
    const auto vector = static_cast<u8>(requested);
    irr_.set(vector, false);
    isr_.set(vector, true);
    update();
    return vector;
}

// 10.8.5
void LocalApic::end_interrupt() {
    const int in_service = isr_.highest();
    if (in_service < 0) return;
    const auto vector = static_cast<u8>(in_service);
    isr_.set(vector, false);
    if (!tmr_.has(vector)) return;
    for (unsigned pin = 0; pin < pin_.size(); ++pin) {
        u32& entry = lvt_[kLint0 + pin];
        if ((entry & kRemoteIrr) == 0 || (entry & kVectorMask) != vector) continue;
        entry &= ~kRemoteIrr;
        set_pin(pin, pin_[pin]);
    }
    if (end_of_interrupt_) end_of_interrupt_(vector);
}

void LocalApic::set_task_priority_class(u8 value) {
    tpr_ = static_cast<u8>(value << 4);
    update();
}

// --- interrupts arriving ------------------------------------------------------------------------------------------

// Vectors below 16 are the architecture's own: not delivered, but told of (10.5.2, 10.5.3).
bool LocalApic::accept(u8 vector, bool level_triggered) {
    if (vector < kFirstLegalVector) {
        error(kErrorReceivedIllegal);
        return true;
    }
    irr_.set(vector, true);
    tmr_.set(vector, level_triggered);
    return true;
}

// An NMI watchdog: the timer's interrupts come to LINT0 (nothing is at LINT1 here).
bool LocalApic::may_raise_nmi() const {
    const u32 lint0 = lvt_[kLint0];
    return enabled() && (lint0 & kMasked) == 0 && mode_of(lint0) == apic_delivery::Nmi;
}

bool LocalApic::take(u8 delivery_mode, u8 vector, bool level_triggered) {
    switch (delivery_mode) {
        case apic_delivery::Fixed:
        case apic_delivery::LowestPriority: return software_enabled() && accept(vector, level_triggered);
        case apic_delivery::Nmi: machine_.raise_nmi(); return true;
        // The CPU begins anew where a reset would have it begin; of this machine's parts only the whole can do so.
        case apic_delivery::Init: machine_.request({.kind = RequestKind::Reset}); return true;
        case apic_delivery::Smi:      // there is no system management mode
        case apic_delivery::StartUp:  // counts only for a CPU that waits for it
        default: return true;
    }
}

bool LocalApic::is_for_us(const ApicMessage& m) const {  // 10.6.2
    if (m.destination == kBroadcast) return true;
    if (!m.logical) return m.destination == id_ >> 24;
    const u32 ours = logical_destination_ >> 24;
    if (destination_format_ >> 28 == 0xf) return (m.destination & ours) != 0;  // flat model
    return m.destination >> 4 == ours >> 4 && (m.destination & ours & 0xf) != 0;
}

bool LocalApic::deliver(const ApicMessage& m) {
    if (!enabled() || !is_for_us(m)) return false;
    const bool taken = take(m.delivery_mode, m.vector, m.level_triggered);
    update();
    return taken;
}

// Interrupt command register (10.6.1).
void LocalApic::send(u32 command) {
    enum : u32 { kNoShorthand = 0, kSelf = 1, kAllWithSelf = 2 };
    constexpr u32 kLogical = 1u << 11, kAssert = 1u << 14;
    const u32 shorthand = command >> 18 & 3;
    const ApicMessage message{.destination = static_cast<u8>(command_high_ >> 24),
                              .logical = (command & kLogical) != 0,
                              .delivery_mode = mode_of(command),
                              .vector = static_cast<u8>(command)};
    const bool with_vector =
        message.delivery_mode == apic_delivery::Fixed || message.delivery_mode == apic_delivery::LowestPriority;
    if (with_vector && message.vector < kFirstLegalVector) {
        error(kErrorSendIllegal);
        return;
    }
    // INIT with the level deasserted only ever synchronized arbitration IDs.
    if (message.delivery_mode == apic_delivery::Init && (command & kAssert) == 0) return;
    const bool ours =
        shorthand == kSelf || shorthand == kAllWithSelf || (shorthand == kNoShorthand && is_for_us(message));
    if (ours) take(message.delivery_mode, message.vector, /*level_triggered=*/false);
}

// An interrupt from inside, by its entry in the local vector table (10.5.1).
void LocalApic::local_interrupt(LvtEntry entry) {
    const u32 e = lvt_[entry];
    if ((e & kMasked) != 0) return;
    const bool has_mode = entry != kTimer && entry != kError;
    take(has_mode ? mode_of(e) : apic_delivery::Fixed, static_cast<u8>(e), (e & kLevel) != 0);
}

IrqLine LocalApic::lint(unsigned pin) {
    return IrqLine([this, pin](bool level) {
        const bool rises = level && !pin_[pin];
        pin_[pin] = level;
        const auto entry = static_cast<LvtEntry>(kLint0 + pin);
        const bool by_edge = (lvt_[entry] & kLevel) == 0 || mode_of(lvt_[entry]) != apic_delivery::Fixed;
        const bool external = mode_of(lvt_[entry]) == apic_delivery::ExtInt;
        if (enabled() && rises && by_edge && !external) local_interrupt(entry);
        set_pin(pin, level);
        update();
    });
}

// A level-triggered fixed interrupt is sent once, and again after its end if the pin is still up (remote IRR).
void LocalApic::set_pin(unsigned pin, bool level) {
    const auto number = static_cast<LvtEntry>(kLint0 + pin);
    u32& entry = lvt_[number];
    const bool by_level = (entry & kLevel) != 0 && mode_of(entry) == apic_delivery::Fixed;
    if (!enabled() || !level || !by_level || (entry & (kMasked | kRemoteIrr)) != 0) return;
    entry |= kRemoteIrr;
    local_interrupt(number);
}

void LocalApic::error(u32 bit) {
    const bool known = (errors_ & bit) != 0;
    errors_ |= bit;
    const u32 entry = lvt_[kError];
    if (known || (entry & kMasked) != 0) return;
    // An error entry without a legal vector has nowhere to go.
    if ((entry & kVectorMask) >= kFirstLegalVector) accept(static_cast<u8>(entry), false);
    update();
}

// --- saving ------------------------------------------------------------------------------------------------------

void LocalApic::save(ArchiveWriter& out) const {
    out.tag("LAPC", 1);
    out.put(base_);
    for (u32 v : {id_, logical_destination_, destination_format_, spurious_, errors_, errors_seen_, command_low_,
                  command_high_, divide_, initial_count_}) {
        out.put(v);
    }
    out.put(tpr_);
    for (const Vectors* set : {&isr_, &irr_, &tmr_}) {
        for (u64 i = 0; i < 8; ++i) out.put(set->word(i));
    }
    for (u32 entry : lvt_) out.put(entry);
    for (bool v : {pin_[0], pin_[1], counting_}) out.put(static_cast<u8>(v));
    out.put(counting_ ? machine_.clock().now() - started_ : 0);
}

void LocalApic::load(ArchiveReader& in) {
    in.expect("LAPC", 1);
    const auto base = in.get<u64>();
    for (u32* v : {&id_, &logical_destination_, &destination_format_, &spurious_, &errors_, &errors_seen_,
                   &command_low_, &command_high_, &divide_, &initial_count_}) {
        in.get(*v);
    }
    in.get(tpr_);
    for (Vectors* set : {&isr_, &irr_, &tmr_}) {
        for (u64 i = 0; i < 8; ++i) in.get(set->word(i));
    }
    for (u32& entry : lvt_) in.get(entry);
    for (bool* v : {&pin_[0], &pin_[1], &counting_}) *v = in.get<u8>() != 0;
    const auto since = in.get<Nanoseconds>();
    if (since > kLongestSaved) in.set_bad();
    if (!in.ok()) {
        reset();
        return;
    }
    started_ = machine_.clock().now() - since;
    divide_ &= 0xb;
    counting_ = counting_ && initial_count_ != 0;
    set_apic_base(base);
    schedule();
}

}  // namespace dualvm::devices
