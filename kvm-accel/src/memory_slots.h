// vMEM as KVM memory slots, with KVM's dirty log where it is wanted.
#pragma once

#include <vector>

#include "dualvm/vmem.h"
#include "kvm_handles.h"

namespace dualvm::kvm {

// A piece of guest-physical memory that lies in one piece in the host's.
struct Slot {
    u64 base = 0, size = 0;
    u8* host = nullptr;
    RegionKind kind = RegionKind::Ram;
    bool operator==(const Slot&) const = default;
};

// With the A20 gate closed, address bit 20 is 0 for the CPU: each odd megabyte shows the even one below it. Up to this
// address that is so here, too; memory above shows itself. (What closes A20 imitates the 8086, which had one megabyte:
// only the second one is known to matter to software, and each alias is a slot, which costs.)
inline constexpr u64 kAliasedBelow = u64{64} << 20;

// The slots that regions and A20 gate ask for; neighbours that can be one are. A pure function.
std::vector<Slot> wanted_slots(const std::vector<MemoryRegion>& regions, bool a20_open);

class MemorySlots {
public:
    // `read_only`: KVM_CAP_READONLY_MEM, without which ROM is writable RAM to the guest. With `log_dirty` KVM maps no
    // page larger than 4 KiB.
    MemorySlots(const KvmVm& vm, VMem& vmem, bool read_only, bool log_dirty)
        : vm_(vm), vmem_(vmem), read_only_(read_only), log_dirty_(log_dirty) {}

    // Makes the slots what the regions and the A20 gate say. To be called when vmem.map_generation() has changed.
    Expected<void> rebuild();
    // A slot of the VMM's own, beside the guest's; its memory must outlive this.
    Expected<void> add_private(const Slot& slot);
    bool logs_dirty() const { return log_dirty_; }
    // Adds what the guest has written since the last call to vMEM's dirty account; nothing if that is not logged.
    void collect_dirty();
    // Makes KVM forget what it knows of the guest's page tables: where it shadows them, a present entry that user space
    // has changed stays stale until then.
    // False, with errno, if it refused.
    bool drop_shadows();

private:
    bool set(u32 number, const Slot& slot);

    const KvmVm& vm_;
    VMem& vmem_;
    bool read_only_, log_dirty_;
    std::vector<Slot> slots_;
    u64 seen_a20_mask_ = ~u64{0};  // as it was when the slots were made
};

}  // namespace dualvm::kvm
