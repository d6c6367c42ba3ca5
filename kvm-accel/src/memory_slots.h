// vMEM as KVM memory slots, with KVM's dirty log.
#pragma once

#include <vector>

#include "dualvm/vmem.h"
#include "kvm_handles.h"

namespace dualvm::kvm {

class MemorySlots {
public:
    // `read_only`: KVM_CAP_READONLY_MEM, without which ROM is writable RAM to the guest.
    MemorySlots(const KvmVm& vm, VMem& vmem, bool read_only) : vm_(vm), vmem_(vmem), read_only_(read_only) {}

    // Makes the slots what the regions and the A20 gate say. To be called when vmem.map_generation() has changed.
    Expected<void> rebuild();
    // Adds what the guest has written since the last call to vMEM's dirty account.
    void collect_dirty();
    // Makes KVM forget what it knows of the guest's page tables: where it shadows them, a present entry that user space
    // has changed stays stale until then.
    void drop_shadows();

private:
    struct Slot {
        u64 base = 0, size = 0;
        u8* host = nullptr;
        u32 flags = 0;
    };
    bool set(u32 number, const Slot& slot);
    std::vector<Slot> wanted() const;

    const KvmVm& vm_;
    VMem& vmem_;
    bool read_only_;
    std::vector<Slot> slots_;
};

}  // namespace dualvm::kvm
