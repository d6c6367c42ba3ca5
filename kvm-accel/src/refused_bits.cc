#include "refused_bits.h"

#include <sys/ioctl.h>

#include "cpuid.h"
#include "dualvm/kvm/kvm_engine.h"

namespace dualvm {

namespace kvm {

u64 refused_cr4_bits(int vcpu, u64 bits) {
    kvm_sregs before{};
    if (ioctl(vcpu, KVM_GET_SREGS, &before) < 0) return 0;
    kvm_sregs sregs = before;
    // Paging is off, so that no bit is wanted or forbidden for its sake.
    sregs.cr0 = cr0::ET;
    sregs.cr3 = sregs.efer = 0;
    sregs.cs.l = 0;
    u64 refused = 0;
    for (u64 rest = bits; rest != 0; rest &= rest - 1) {
        sregs.cr4 = rest & -rest;
        if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0) refused |= sregs.cr4;
    }
    ioctl(vcpu, KVM_SET_SREGS, &before);
    return refused;
}

namespace {

Expected<u64> refused_bits(const CpuModel& model, const std::string& path) {
    auto device = KvmDevice::open(path);
    if (!device) return tl::unexpected(device.error());
    auto vm = KvmVm::create(*device);
    if (!vm) return tl::unexpected(vm.error());
    auto vcpu = KvmVcpu::create(*device, *vm);
    if (!vcpu) return tl::unexpected(vcpu.error());
    if (auto set = set_cpuid(*device, *vcpu, model, nullptr); !set) return tl::unexpected(set.error());
    return refused_cr4_bits(vcpu->fd(), model.cr4_valid_bits());
}

}  // namespace

}  // namespace kvm

u64 cr4_bits_refused_by_kvm(const CpuModel& model, const std::string& device) {
    return kvm::refused_bits(model, device).value_or(0);
}

}  // namespace dualvm
