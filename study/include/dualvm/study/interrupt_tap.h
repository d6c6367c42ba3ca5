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

private:
    Machine& machine_;
    InterruptSource* tapped_;
    std::function<void(u8)> on_interrupt_;
};

}  // namespace dualvm::study
