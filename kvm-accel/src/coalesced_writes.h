// Writes that KVM keeps in a ring and hands over many at a time (api.rst, KVM_REGISTER_COALESCED_MMIO): those to
// devices that allow it (Device::posted_writes()) do not cost a way out of KVM_RUN and back in.
#pragma once

#include <vector>

#include "dualvm/exit.h"
#include "dualvm/vio.h"
#include "kvm_handles.h"
#include "kvm_layout.h"

namespace dualvm::kvm {

class CoalescedWrites {
public:
    CoalescedWrites(const KvmVm& vm, KvmVcpu& vcpu);

    // Gathering begins behind the first write that came out and need not have: a virtual machine that gathers takes
    // Linux 6.18 some 14 ms to end, which is more than all of a short guest.
    void notice(const Exit& exit, const VIo& vio);

    // Once it has begun, asks KVM to gather what vIO's devices allow. To be called when vio.generation() has changed;
    // cheap when it hasn't.
    void follow(const VIo& vio);

    // The oldest write that waits, as the exit that it would have been; false when there is none. The data is valid
    // until the next call.
    bool take(Exit& exit);

private:
    struct Zone {
        u64 base, size;
        bool port;
        bool operator==(const Zone&) const = default;
    };
    bool request(unsigned long number, const Zone& zone);

    const KvmVm& vm_;
    CoalescedRing* ring_ = nullptr;  // none where the kernel can't
    bool ports_too_ = false, begun_ = false;
    u64 seen_generation_ = 0;
    std::vector<Zone> zones_;
    kvm_coalesced_mmio taken_{};
};

}  // namespace dualvm::kvm
