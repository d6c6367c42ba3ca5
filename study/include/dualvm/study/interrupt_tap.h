// Sits on the wire between the interrupt controller and the CPU, and tells which vectors go over it.
#pragma once

#include <functional>

#include "dualvm/machine.h"

namespace dualvm::study {

class InterruptTap final : public InterruptSource {
public:
    // Taps `machine` for as long as this object lives.
    InterruptTap(Machine& machine, std::function<void(u8 vector)> on_interrupt);
    ~InterruptTap() override;
    InterruptTap(const InterruptTap&) = delete;
    InterruptTap& operator=(const InterruptTap&) = delete;

    bool pending() const override { return tapped_ != nullptr && tapped_->pending(); }
    u8 acknowledge() override;
    bool may_raise_nmi() const override { return tapped_ != nullptr && tapped_->may_raise_nmi(); }
    std::optional<u8> task_priority_class() const override {
        return tapped_ != nullptr ? tapped_->task_priority_class() : std::nullopt;
    }
    void set_task_priority_class(u8 value) override {
        if (tapped_ != nullptr) tapped_->set_task_priority_class(value);
    }
    void set_apic_base(u64 value) override {
        if (tapped_ != nullptr) tapped_->set_apic_base(value);
    }

private:
    Machine& machine_;
    InterruptSource* tapped_;
    std::function<void(u8)> on_interrupt_;
};

}  // namespace dualvm::study
