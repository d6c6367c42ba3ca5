#include "coalesced_writes.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>

namespace dualvm::kvm {

namespace {

constexpr std::size_t kPageSize = 4096;

}  // namespace

CoalescedWrites::CoalescedWrites(const KvmVm& vm, KvmVcpu& vcpu) : vm_(vm) {
    // The capability's value is the ring's place, in pages from the vCPU's kvm_run.
    const int page = vm.capability(KVM_CAP_COALESCED_MMIO);
    if (page <= 0) return;
    ring_ = reinterpret_cast<CoalescedRing*>(reinterpret_cast<u8*>(&vcpu.run()) +
                                             static_cast<std::size_t>(page) * kPageSize);
    ports_too_ = vm.capability(KVM_CAP_COALESCED_PIO) != 0;
}

bool CoalescedWrites::request(unsigned long number, const Zone& zone) {
    kvm_coalesced_mmio_zone wanted{};
    wanted.addr = zone.base;
    wanted.size = static_cast<u32>(zone.size);
    wanted.pio = zone.port ? 1 : 0;
    return ioctl(vm_.fd(), number, &wanted) == 0;
}

void CoalescedWrites::notice(const Exit& exit, const VIo& vio) {
    if (begun_ || (exit.kind != ExitKind::PortWrite && exit.kind != ExitKind::MmioWrite)) return;
    const bool port = exit.kind == ExitKind::PortWrite;
    const IoRange* range = (port ? vio.ports() : vio.mmio()).find(exit.address);
    begun_ = range != nullptr && range->device->posted_writes() && (!port || ports_too_);
}

void CoalescedWrites::follow(const VIo& vio) {
    if (!begun_ || ring_ == nullptr || vio.generation() == seen_generation_) return;
    seen_generation_ = vio.generation();
    std::vector<Zone> wanted;
    auto add = [&](const IoSpace& space, bool port) {
        for (const IoRange& r : space.ranges()) {
            if (r.device->posted_writes() && r.size <= UINT32_MAX) wanted.push_back({r.base, r.size, port});
        }
    };
    add(vio.mmio(), false);
    if (ports_too_) add(vio.ports(), true);
    std::erase_if(zones_, [&](const Zone& zone) {
        const bool gone = std::find(wanted.begin(), wanted.end(), zone) == wanted.end();
        if (gone) request(KVM_UNREGISTER_COALESCED_MMIO, zone);
        return gone;
    });
    for (const Zone& zone : wanted) {
        const bool known = std::find(zones_.begin(), zones_.end(), zone) != zones_.end();
        // Refused, the writes come as exits: right, only slower.
        if (!known && request(KVM_REGISTER_COALESCED_MMIO, zone)) zones_.push_back(zone);
    }
}

bool CoalescedWrites::take(Exit& exit) {
    if (ring_ == nullptr) return false;
    // KVM adds at `last` after it has filled the entry; we take at `first` (virt/kvm/coalesced_mmio.c). The vCPU is not
    // running, so that only the compiler could get in between.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const u32 first = ring_->first;
    if (first == ring_->last || first >= CoalescedRing::kEntries) return false;
    taken_ = ring_->entries[first];
    ring_->first = (first + 1) % CoalescedRing::kEntries;
    std::atomic_signal_fence(std::memory_order_seq_cst);

    exit = {};
    exit.kind = taken_.pio != 0 ? ExitKind::PortWrite : ExitKind::MmioWrite;
    exit.address = taken_.phys_addr;
    exit.size = static_cast<u8>(std::min<std::size_t>(taken_.len, sizeof taken_.data));
    exit.data = taken_.data;
    return true;
}

}  // namespace dualvm::kvm
