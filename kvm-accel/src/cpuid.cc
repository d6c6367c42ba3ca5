#include "cpuid.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "kvm_layout.h"

namespace dualvm::kvm {

namespace {

using CpuidList = KvmList<kvm_cpuid_entry2>;

const kvm_cpuid_entry2* find(CpuidList& list, u32 leaf, u32 subleaf) {
    for (u32 i = 0; i < list.size(); ++i) {
        const kvm_cpuid_entry2& e = list.entries()[i];
        const bool indexed = (e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
        if (e.function == leaf && (!indexed || e.index == subleaf)) return &e;
    }
    return nullptr;
}

}  // namespace

Expected<void> set_cpuid(const KvmDevice& device, KvmVcpu& vcpu, const CpuModel& model,
                         std::vector<std::string>* differences) {
    CpuidList supported(0);
    for (u32 room = 64;; room *= 2) {  // E2BIG until the list is large enough
        supported = CpuidList(room);
        supported.set_size(room);
        if (ioctl(device.fd(), kGetSupportedCpuid, supported.data()) == 0) break;
        if (errno != E2BIG || room > 4096) return ioctl_error("KVM_GET_SUPPORTED_CPUID");
    }
    const auto& leaves = model.leaves();
    CpuidList wanted(leaves.size());
    for (std::size_t i = 0; i < leaves.size(); ++i) {
        const CpuidLeaf& leaf = leaves[i];
        wanted.add({});
        kvm_cpuid_entry2& e = wanted.entries()[i];
        e.function = leaf.leaf;
        e.index = leaf.subleaf;
        e.flags = leaf.has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
        e.eax = leaf.result.eax;
        e.ebx = leaf.result.ebx;
        e.ecx = leaf.result.ecx;
        e.edx = leaf.result.edx;
        const kvm_cpuid_entry2* host = find(supported, leaf.leaf, leaf.subleaf);
        auto intersect = [&](const char* name, u32& value, u32 have) {
            const u32 missing = value & ~have;
            if (missing == 0) return;
            value &= have;
            if (differences != nullptr) {
                differences->push_back(fmt::format("cpuid {:x}h {}: not available {:08x}", leaf.leaf, name, missing));
            }
        };
        const bool features = leaf.leaf == 1 || leaf.leaf == 7 || leaf.leaf == 0x80000001;
        if (!features) continue;
        if (leaf.leaf == 7) intersect("ebx", e.ebx, host != nullptr ? host->ebx : 0);
        intersect("ecx", e.ecx, host != nullptr ? host->ecx : 0);
        intersect("edx", e.edx, host != nullptr ? host->edx : 0);
    }
    if (ioctl(vcpu.fd(), kSetCpuid2, wanted.data()) < 0) return ioctl_error("KVM_SET_CPUID2");
    return {};
}

}  // namespace dualvm::kvm
