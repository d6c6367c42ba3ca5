#include "memory_slots.h"

#include <sys/ioctl.h>

#include <algorithm>

namespace dualvm::kvm {

namespace {

constexpr u64 kMiB = u64{1} << 20;

void add(std::vector<Slot>& slots, const Slot& slot) {
    if (slot.size == 0) return;
    if (!slots.empty()) {
        Slot& last = slots.back();
        if (last.base + last.size == slot.base && last.host + last.size == slot.host && last.kind == slot.kind) {
            last.size += slot.size;
            return;
        }
    }
    slots.push_back(slot);
}

// What of `region` lies in [base, end), shown at `at`.
Slot part(const MemoryRegion& region, u64 base, u64 end, u64 at) {
    const u64 from = std::max(region.base, base), to = std::min(region.end(), end);
    if (from >= to) return {};
    return {at + (from - base), to - from, region.host + (from - region.base), region.kind};
}

}  // namespace

std::vector<Slot> wanted_slots(const std::vector<MemoryRegion>& regions, bool a20_open) {
    std::vector<Slot> slots;
    if (!a20_open) {
        for (u64 base = 0; base < kAliasedBelow; base += 2 * kMiB) {
            for (u64 at : {base, base + kMiB}) {
                for (const MemoryRegion& r : regions) add(slots, part(r, base, base + kMiB, at));
            }
        }
    }
    const u64 rest = a20_open ? 0 : kAliasedBelow;
    for (const MemoryRegion& r : regions) add(slots, part(r, rest, ~u64{0}, rest));
    return slots;
}

bool MemorySlots::set(u32 number, const Slot& slot) {
    kvm_userspace_memory_region region{};
    region.slot = number;
    if (slot.size != 0 && log_dirty_) region.flags = KVM_MEM_LOG_DIRTY_PAGES;
    if (slot.kind == RegionKind::Rom && read_only_) region.flags |= KVM_MEM_READONLY;
    region.guest_phys_addr = slot.base;
    region.memory_size = slot.size;
    region.userspace_addr = reinterpret_cast<u64>(slot.host);
    return ioctl(vm_.fd(), KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

Expected<void> MemorySlots::rebuild() {
    collect_dirty();
    for (u32 i = 0; i < slots_.size(); ++i) set(i, Slot{});
    slots_ = wanted_slots(vmem_.regions(), vmem_.a20_open());
    seen_a20_mask_ = vmem_.a20_mask();
    for (u32 i = 0; i < slots_.size(); ++i) {
        if (!set(i, slots_[i])) return ioctl_error("KVM_SET_USER_MEMORY_REGION");
    }
    return {};
}

Expected<void> MemorySlots::add_private(const Slot& slot) {
    constexpr u32 kNumber = 500;  // behind the guest's, and within what every kernel has (KVM_CAP_NR_MEMSLOTS)
    if (!set(kNumber, slot)) return ioctl_error("KVM_SET_USER_MEMORY_REGION (the shim's)");
    return {};
}

void MemorySlots::collect_dirty() {
    if (!log_dirty_) return;
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
                const u64 address = slot.base + page * kPageSize;
                vmem_.mark_dirty(address < kAliasedBelow ? address & seen_a20_mask_ : address);
            }
        }
    }
}

// Any change of the slots makes KVM do so (kvm_mmu_invalidate_all). One page comes and goes, at an address where there
// is nothing: the guest does not run meanwhile.
bool MemorySlots::drop_shadows() {
    if (slots_.empty()) return true;
    Slot passing = slots_.front();
    passing.size = kPageSize;
    passing.base = ~u64{0};
    for (u64 at = 0; passing.base == ~u64{0}; at += kMiB) {
        const bool taken = std::any_of(slots_.begin(), slots_.end(),
                                       [&](const Slot& s) { return at < s.base + s.size && s.base < at + kPageSize; });
        if (!taken) passing.base = at;
    }
    const auto number = static_cast<u32>(slots_.size());
    return set(number, passing) && set(number, Slot{});
}

}  // namespace dualvm::kvm
