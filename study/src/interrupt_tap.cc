#include "dualvm/study/interrupt_tap.h"

#include <utility>

namespace dualvm::study {

InterruptTap::InterruptTap(Machine& machine, std::function<void(u8 vector)> on_interrupt)
    : machine_(machine), tapped_(machine.interrupt_source()), on_interrupt_(std::move(on_interrupt)) {
    machine_.set_interrupt_source(this);
}

InterruptTap::~InterruptTap() { machine_.set_interrupt_source(tapped_); }

u8 InterruptTap::acknowledge() {
    const u8 vector = tapped_->acknowledge();
    on_interrupt_(vector);
    return vector;
}

}  // namespace dualvm::study
