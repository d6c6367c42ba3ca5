// The local APIC of the one CPU (SDM vol. 3A, chapter 10), in xAPIC mode: registers in a page of memory, at FEE00000h
// until IA32_APIC_BASE says otherwise. It stands between the CPU and everything that interrupts it: the I/O APIC's
// messages, its own timer, interrupts that the CPU sends itself, and the 8259A pair on its LINT0 pin.
#pragma once

#include <array>
#include <functional>

#include "dualvm/irq_line.h"
#include "dualvm/machine.h"

namespace dualvm::devices {

// An interrupt message as it goes over the system bus (10.11.1 and 10.11.2 show the same fields).
struct ApicMessage {
    u8 destination = 0;
    bool logical = false;
    u8 delivery_mode = 0;
    bool level_triggered = false;
    u8 vector = 0;
};

namespace apic_delivery {  // 10.5.1
inline constexpr u8 Fixed = 0, LowestPriority = 1, Smi = 2, Nmi = 4, Init = 5, StartUp = 6, ExtInt = 7;
}

class LocalApic final : public Device, public InterruptSource {
public:
    static constexpr u64 kSize = kPageSize, kUsualBase = 0xfee00000;
    // The timer's input clock: 1 GHz, so a tick is a nanosecond of the machine's clock.
    static constexpr Nanoseconds kTick = 1;

    // What a reset leaves behind: the architecture's state, with interrupts of the 8259As masked until firmware opens
    // LINT0; or, where no firmware runs, what firmware would have set up ("virtual wire mode", MultiProcessor
    // Specification 1.4, 3.6.2.2).
    enum class AfterReset : u8 { Architectural, VirtualWire };

    // `pic` answers the CPU's acknowledgement of interrupts that come through LINT0.
    LocalApic(Machine& machine, InterruptSource& pic, AfterReset after_reset);
    ~LocalApic() override;

    // The pins: 0 and 1.
    IrqLine lint(unsigned pin);
    // Takes a message if it is for this CPU. False: nobody has taken it.
    bool deliver(const ApicMessage& message);
    // Told of every end of a level-triggered interrupt, by its vector: the I/O APIC listens.
    void on_end_of_interrupt(std::function<void(u8 vector)> listener) { end_of_interrupt_ = std::move(listener); }

    bool pending() const override { return intr_; }
    u8 acknowledge() override;
    bool may_raise_nmi() const override;
    std::optional<u8> task_priority_class() const override { return static_cast<u8>(tpr_ >> 4); }
    void set_task_priority_class(u8 value) override;
    void set_apic_base(u64 value) override;

    const char* name() const override { return "local apic"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    enum LvtEntry : u8 { kTimer, kThermal, kPerformance, kLint0, kLint1, kError, kLvtCount };
    // A set of vectors: ISR, IRR or TMR.
    class Vectors {
    public:
        bool has(u8 v) const { return (words_[v / 32] >> (v % 32) & 1) != 0; }
        void set(u8 v, bool on);
        int highest() const;  // -1 if there is none
        u32& word(u64 index) { return words_[index]; }
        u32 word(u64 index) const { return words_[index]; }
        void clear() { words_ = {}; }

    private:
        std::array<u32, 8> words_{};
    };

    bool enabled() const { return (base_ & kGlobalEnable) != 0; }
    bool software_enabled() const { return enabled() && (spurious_ & kSoftwareEnable) != 0; }
    bool is_for_us(const ApicMessage& message) const;
    u8 processor_priority() const;
    bool accept(u8 vector, bool level_triggered);
    bool take(u8 delivery_mode, u8 vector, bool level_triggered);
    void local_interrupt(LvtEntry entry);
    void set_pin(unsigned pin, bool level);
    void error(u32 bit);
    void update();
    void end_interrupt();
    void send(u32 command);
    void map(u64 base);
    bool unmap();

    u32 read_register(u64 offset);
    void write_register(u64 offset, u32 value);
    void write_lvt(LvtEntry entry, u32 value);
    void write_spurious(u32 value);

    // The timer.
    u64 divisor() const;
    bool periodic() const { return (lvt_[kTimer] & kPeriodic) != 0; }
    u32 current_count() const;
    Nanoseconds tick() const { return divisor() * kTick; }
    Nanoseconds into_tick() const;
    void start_timer(u32 initial, u32 current, Nanoseconds into_tick);
    void end_what_is_due();
    void schedule();
    void timer_due();

    static constexpr u64 kGlobalEnable = 1u << 11;
    static constexpr u32 kSoftwareEnable = 1u << 8, kPeriodic = 1u << 17;

    Machine& machine_;
    InterruptSource& pic_;
    AfterReset after_reset_;
    std::function<void(u8)> end_of_interrupt_;
    bool intr_ = false;  // what the CPU sees
    bool mapped_ = false;
    u64 mapped_at_ = 0;

    u64 base_ = 0;  // IA32_APIC_BASE
    u32 id_ = 0, logical_destination_ = 0, destination_format_ = 0, spurious_ = 0;
    u8 tpr_ = 0;
    Vectors isr_, irr_, tmr_;
    u32 errors_ = 0, errors_seen_ = 0;  // so far, and as ESR shows them
    u32 command_low_ = 0, command_high_ = 0;
    std::array<u32, kLvtCount> lvt_{};
    std::array<bool, 2> pin_{};

    Timer timer_;
    u32 divide_ = 0, initial_count_ = 0;
    bool counting_ = false;
    Nanoseconds started_ = 0;  // when the count was the initial one
};

}  // namespace dualvm::devices
