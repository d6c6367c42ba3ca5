// The KVM API's structures with a flexible array at the end, in the layout of C.
//
// <linux/kvm.h> declares them with flexible array members in a way that C++ compilers lay out differently from C ones
// (an empty structure has size 1 in C++), so that both sizeof, which is part of an ioctl's number, and the place of the
// entries come out wrong. Here they are again, right.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::kvm {

// A count, padding, and that many entries: kvm_cpuid2, kvm_msrs.
template <class Entry>
class KvmList {
public:
    explicit KvmList(std::size_t room) : words_(1 + (room * sizeof(Entry) + 7) / 8) {}

    u32 size() const { return static_cast<u32>(words_[0]); }
    void set_size(u32 size) { words_[0] = size; }
    Entry* entries() { return reinterpret_cast<Entry*>(words_.data() + 1); }
    void add(const Entry& entry) {
        entries()[size()] = entry;
        set_size(size() + 1);
    }
    void* data() { return words_.data(); }

private:
    std::vector<u64> words_;  // the first is the count, with its padding
};

constexpr std::size_t kListHeaderBytes = 8;
inline constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, kListHeaderBytes);
inline constexpr unsigned long kGetMsrs = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x88, kListHeaderBytes);
inline constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, kListHeaderBytes);
inline constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, kListHeaderBytes);

// kvm_xsave as KVM_GET_XSAVE and KVM_SET_XSAVE know it.
struct XsaveArea {
    u32 region[1024];
};
inline constexpr unsigned long kGetXsave = _IOC(_IOC_READ, KVMIO, 0xa4, sizeof(XsaveArea));
inline constexpr unsigned long kSetXsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, sizeof(XsaveArea));

// kvm_coalesced_mmio_ring: a page of the vCPU's mapping.
struct CoalescedRing {
    static constexpr u32 kEntries = (4096 - 2 * sizeof(u32)) / sizeof(kvm_coalesced_mmio);
    u32 first, last;
    kvm_coalesced_mmio entries[kEntries];
};
static_assert(offsetof(CoalescedRing, entries) == 8 && sizeof(CoalescedRing) <= 4096);

}  // namespace dualvm::kvm
