// CpuFile <-> a vCPU, group by group.
#pragma once

#include <vector>

#include "dualvm/cpu_file.h"
#include "dualvm/vmem.h"
#include "kvm_handles.h"
#include "kvm_layout.h"

namespace dualvm::kvm {

// RFLAGS, RIP and the general registers: also what KVM_CAP_SYNC_REGS shares in kvm_run.
void from_kvm(GeneralGroup& to, const kvm_regs& from);
kvm_regs to_kvm(const GeneralGroup& from);

void from_kvm(Segment& to, const kvm_segment& from);
kvm_segment to_kvm(const Segment& from);

// The groups' part of it; the rest stays as it is.
void to_kvm(kvm_sregs& to, const CpuFile& from, Groups groups);

// x87 and vector registers. What FpuGroup has no place for stays as it is in the area.
void from_kvm(FpuGroup& to, const XsaveArea& from);
void to_kvm(XsaveArea& to, const FpuGroup& from);

class StateTransfer {
public:
    static Expected<StateTransfer> create(const KvmDevice& device, const KvmVm& vm, KvmVcpu& vcpu);

    // No access may be pending (see KvmEngine): an instruction half done has no registers that mean anything.
    Expected<void> pull(KvmVcpu& vcpu, CpuFile& cpu, Groups groups);
    Expected<void> push(KvmVcpu& vcpu, const CpuFile& cpu, Groups groups);

    // The PDPTE registers of PAE paging, which a KVM without KVM_CAP_SREGS2 does not tell: as MOV CR3 loads them (SDM
    // vol. 3A, 4.4.1). A guest that has changed them in memory since gets them early.
    void complete_pdptes(CpuFile& cpu, const VMem& vmem) const;

    // With KVM_CAP_SYNC_REGS the general registers are in kvm_run after each exit.
    bool shares_registers() const { return shares_registers_; }

private:
    StateTransfer() = default;
    Expected<void> pull_general(KvmVcpu& vcpu, CpuFile& cpu) const;
    Expected<void> push_general(KvmVcpu& vcpu, const CpuFile& cpu) const;
    Expected<void> pull_system(KvmVcpu& vcpu, CpuFile& cpu, Groups groups) const;
    Expected<void> push_system(KvmVcpu& vcpu, const CpuFile& cpu, Groups groups) const;
    Expected<void> pull_msrs(KvmVcpu& vcpu, CpuFile& cpu) const;
    Expected<void> push_msrs(KvmVcpu& vcpu, const CpuFile& cpu) const;

    static Expected<void> pull_fpu(KvmVcpu& vcpu, CpuFile& cpu);
    static Expected<void> push_fpu(KvmVcpu& vcpu, const CpuFile& cpu);
    static Expected<void> pull_debug(KvmVcpu& vcpu, CpuFile& cpu);
    static Expected<void> push_debug(KvmVcpu& vcpu, const CpuFile& cpu);
    static Expected<void> pull_events(KvmVcpu& vcpu, CpuFile& cpu);
    static Expected<void> push_events(KvmVcpu& vcpu, const CpuFile& cpu);

    bool shares_registers_ = false, has_sregs2_ = false, has_xcrs_ = false, nested_paging_ = false;
    std::vector<u32> msrs_;  // of plain_msr() that this KVM knows
};

}  // namespace dualvm::kvm
