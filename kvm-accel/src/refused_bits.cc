// Which bits of CR4 KVM_SET_SREGS takes, found out by trying: on some hosts they are more than KVM_GET_SUPPORTED_CPUID
// speaks of (kvm_pvm takes SMEP and SMAP, and not PCIDE).
#include <sys/ioctl.h>

#include "cpuid.h"
#include "dualvm/kvm/kvm_engine.h"

namespace dualvm {

namespace kvm {

namespace {

Expected<u64> refused_bits(const CpuModel& model, const std::string& path) {
    auto device = KvmDevice::open(path);
    if (!device) return tl::unexpected(device.error());
    auto vm = KvmVm::create(*device);
    if (!vm) return tl::unexpected(vm.error());
    auto vcpu = KvmVcpu::create(*device, *vm);
    if (!vcpu) return tl::unexpected(vcpu.error());
    if (auto set = set_cpuid(*device, *vcpu, model, nullptr); !set) return tl::unexpected(set.error());
    kvm_sregs sregs{};
    if (ioctl(vcpu->fd(), KVM_GET_SREGS, &sregs) < 0) return ioctl_error("KVM_GET_SREGS");
    u64 refused = 0;
    for (u64 bit = 1; bit != 0; bit <<= 1) {
        sregs.cr4 = bit;
        if ((model.cr4_valid_bits() & bit) != 0 && ioctl(vcpu->fd(), KVM_SET_SREGS, &sregs) < 0) refused |= bit;
    }
    return refused;
}

}  // namespace

}  // namespace kvm

u64 cr4_bits_refused_by_kvm(const CpuModel& model, const std::string& device) {
    return kvm::refused_bits(model, device).value_or(0);
}

}  // namespace dualvm
