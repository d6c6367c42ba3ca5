#include "memory_slots.h"

#include <sys/ioctl.h>

#include <algorithm>

namespace dualvm::kvm {

bool MemorySlots::set(u32 number, const Slot& slot) {
    kvm_userspace_memory_region region{};
    region.slot = number;
    region.flags = slot.flags;
    region.guest_phys_addr = slot.base;
    region.memory_size = slot.size;
    region.userspace_addr = reinterpret_cast<u64>(slot.host);
    return ioctl(vm_.fd(), KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

// With the A20 gate closed, address bit 20 is 0 for the CPU: the second megabyte shows the first. Only that one is
// aliased: software with A20 closed lives in the first two megabytes (it is the 8086's wrap-around at 1 MiB that is
// imitated).
std::vector<MemorySlots::Slot> MemorySlots::wanted() const {
    constexpr u64 kMiB = u64{1} << 20;
    std::vector<Slot> slots;
    auto add = [&](u64 base, u64 size, u8* host, RegionKind kind) {
        const u32 rom = kind == RegionKind::Rom && read_only_ ? u32{KVM_MEM_READONLY} : 0;
        slots.push_back({base, size, host, rom | u32{KVM_MEM_LOG_DIRTY_PAGES}});
    };
    for (const MemoryRegion& r : vmem_.regions()) {
        if (vmem_.a20_open()) {
            add(r.base, r.size, r.host, r.kind);
            continue;
        }
        if (r.base < kMiB) {
            const u64 size = std::min(r.end(), kMiB) - r.base;
            add(r.base, size, r.host, r.kind);
            add(r.base + kMiB, size, r.host, r.kind);
        }
        if (r.end() > 2 * kMiB) {
            const u64 base = std::max(r.base, 2 * kMiB);
            add(base, r.end() - base, r.host + (base - r.base), r.kind);
        }
    }
    return slots;
}

Expected<void> MemorySlots::rebuild() {
    collect_dirty();
    for (u32 i = 0; i < slots_.size(); ++i) set(i, Slot{});
    slots_ = wanted();
    for (u32 i = 0; i < slots_.size(); ++i) {
        if (!set(i, slots_[i])) return ioctl_error("KVM_SET_USER_MEMORY_REGION");
    }
    return {};
}

void MemorySlots::collect_dirty() {
    std::vector<u64> bitmap;
    for (u32 i = 0; i < slots_.size(); ++i) {
        const Slot& slot = slots_[i];
        bitmap.assign((slot.size / kPageSize + 63) / 64, 0);
        kvm_dirty_log log{};
        log.slot = i;
        log.dirty_bitmap = bitmap.data();
        if (ioctl(vm_.fd(), KVM_GET_DIRTY_LOG, &log) < 0) continue;
        for (u64 page = 0; page < slot.size / kPageSize; ++page) {
            if (bitmap[page / 64] == 0) {
                page |= 63;
            } else if ((bitmap[page / 64] >> (page % 64)) & 1) {
                // An alias's page is found by its place in host memory, which is that of the region behind it.
                const u64 address = (slot.base + page * kPageSize) & vmem_.a20_mask();
                vmem_.mark_dirty(address);
            }
        }
    }
}

void MemorySlots::drop_shadows() {
    if (slots_.empty()) return;
    const auto smallest =
        std::min_element(slots_.begin(), slots_.end(), [](const Slot& a, const Slot& b) { return a.size < b.size; });
    collect_dirty();  // the log goes with the slot
    const auto number = static_cast<u32>(smallest - slots_.begin());
    set(number, Slot{});
    set(number, *smallest);
}

}  // namespace dualvm::kvm
