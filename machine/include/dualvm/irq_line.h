// Interrupt wires. A device is handed an IrqLine and raises or lowers it; it does not know who listens.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "dualvm/types.h"

namespace dualvm {

// One wire, carrying a level. Listeners are called on changes only; whether an edge or a level counts is theirs.
class IrqLine {
public:
    using Listener = std::function<void(bool level)>;
    IrqLine() = default;
    explicit IrqLine(Listener listener) : listener_(std::move(listener)) {}

    void set(bool level) {
        if (level == level_) return;
        level_ = level;
        if (listener_) listener_(level);
    }
    void raise() { set(true); }
    void lower() { set(false); }
    bool level() const { return level_; }
    // Joins the wire to what it drives; the current level is not announced.
    void connect(Listener listener) { listener_ = std::move(listener); }

private:
    Listener listener_;
    bool level_ = false;
};

// What a CPU sees of the interrupt controller: the INTR pin and the INTA cycle (8259A data sheet).
class InterruptSource {
public:
    virtual ~InterruptSource() = default;
    // True while INTR is asserted.
    virtual bool pending() const = 0;
    // The INTA cycle: returns the vector and moves the request into service.
    virtual u8 acknowledge() = 0;

    // Whether a request that comes may be made an NMI: then the CPU wakes though it takes no interrupts.
    virtual bool may_raise_nmi() const { return false; }

    // What the CPU has of a local APIC in its own registers; a controller without one has none of it.
    // CR8: the task priority class, bits 4-7 of the APIC's TPR (SDM vol. 3A, 10.8.6.1).
    virtual std::optional<u8> task_priority_class() const { return std::nullopt; }
    virtual void set_task_priority_class(u8) {}
    // The guest has written IA32_APIC_BASE.
    virtual void set_apic_base(u64) {}
};

}  // namespace dualvm
