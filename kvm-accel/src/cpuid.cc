#include "cpuid.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "kvm_layout.h"

namespace dualvm::kvm {

namespace {

const kvm_cpuid_entry2* find(CpuidList& list, u32 leaf, u32 subleaf) {
    for (u32 i = 0; i < list.size(); ++i) {
        const kvm_cpuid_entry2& e = list.entries()[i];
        const bool indexed = (e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
        if (e.function == leaf && (!indexed || e.index == subleaf)) return &e;
    }
    return nullptr;
}

// Leaves made of feature bits: one that the host lacks is taken away.
bool has_features(u32 leaf) { return leaf == 1 || leaf == 7 || leaf == 0x80000001; }

constexpr u32 kAddressSizes = 0x80000008;  // EAX: physical address bits 0-7, linear 8-15

}  // namespace

Expected<CpuidList> supported_cpuid(const KvmDevice& device) {
    for (u32 room = 128;; room *= 2) {  // E2BIG until the list is large enough
        CpuidList supported(room);
        supported.set_size(room);
        if (ioctl(device.fd(), kGetSupportedCpuid, supported.data()) == 0) return supported;
        if (errno != E2BIG || room > 4096) return ioctl_error("KVM_GET_SUPPORTED_CPUID");
    }
}

CpuidList intersect(const CpuModel& model, CpuidList& supported, std::vector<std::string>* differences) {
    auto report = [&](std::string text) {
        if (differences != nullptr) differences->push_back(std::move(text));
    };
    const auto& leaves = model.leaves();
    CpuidList wanted(leaves.size());
    for (const CpuidLeaf& leaf : leaves) {
        kvm_cpuid_entry2 e{};
        e.function = leaf.leaf;
        e.index = leaf.subleaf;
        e.flags = leaf.has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
        e.eax = leaf.result.eax;
        e.ebx = leaf.result.ebx;
        e.ecx = leaf.result.ecx;
        e.edx = leaf.result.edx;
        const kvm_cpuid_entry2* host = find(supported, leaf.leaf, leaf.subleaf);
        auto keep = [&](const char* name, u32& value, u32 have) {
            if (const u32 missing = value & ~have; missing != 0) {
                report(fmt::format("cpuid {:x}h {}: not available {:08x}", leaf.leaf, name, missing));
            }
            value &= have;
        };
        if (has_features(leaf.leaf)) {
            if (leaf.leaf == 7) keep("ebx", e.ebx, host != nullptr ? host->ebx : 0);  // elsewhere not feature bits
            keep("ecx", e.ecx, host != nullptr ? host->ecx : 0);
            keep("edx", e.edx, host != nullptr ? host->edx : 0);
        }
        if (leaf.leaf == kAddressSizes && host != nullptr && (host->eax & 0xff) < (e.eax & 0xff)) {
            report(fmt::format("cpuid {:x}h eax: {} physical address bits, not {}", leaf.leaf, host->eax & 0xff,
                               e.eax & 0xff));
            e.eax = (e.eax & ~0xffu) | (host->eax & 0xff);
        }
        wanted.add(e);
    }
    return wanted;
}

Expected<void> set_cpuid(const KvmDevice& device, KvmVcpu& vcpu, const CpuModel& model,
                         std::vector<std::string>* differences) {
    auto supported = supported_cpuid(device);
    if (!supported) return tl::unexpected(supported.error());
    CpuidList wanted = intersect(model, *supported, differences);
    if (ioctl(vcpu.fd(), kSetCpuid2, wanted.data()) < 0) return ioctl_error("KVM_SET_CPUID2");
    return {};
}

}  // namespace dualvm::kvm
