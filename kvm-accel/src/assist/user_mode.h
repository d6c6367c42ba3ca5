// A vCPU that runs nothing but 64-bit programs at ring 3, under the shim's supervisor. Whatever the program does that
// needs a kernel brings it back here, at the instruction that did: whoever executes that one on the guest's own tables
// delivers what the guest's CPU would have.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "assist/shim.h"
#include "assist/table_watch.h"
#include "dualvm/machine.h"
#include "kick.h"
#include "kvm_handles.h"
#include "kvm_layout.h"
#include "memory_slots.h"
#include "state_transfer.h"

namespace dualvm::kvm {

class UserMode {
public:
    // Has KVM here what create() needs?
    static Expected<void> check(const KvmDevice& device);
    // Makes the VM, which costs milliseconds (and more, the more memory the guest has, where KVM shadows page tables).
    static Expected<std::unique_ptr<UserMode>> create(Machine& machine, const KvmDevice& device, bool dirty_log);

    // Why the program at `cpu` is not for such a vCPU; nullptr if it is. (64-bit code at ring 3 is what it may ask of.)
    static const char* refuses(const CpuFile& cpu, const VMem& vmem);

    enum class End : u8 {
        Trap,  // the instruction at RIP needs the guest's kernel, or at least an engine that knows its tables
        Deadline,
        Kicked,
        Device,   // one that the program reached has done something that must be looked at before it goes on
        Refused,  // it has not run: the tables are not for KVM
        Failure,  // Result::failure says what
    };
    struct Result {
        End end = End::Trap;
        unsigned vector = 0;  // of a Trap; Shim::kSyscallStub if it was SYSCALL
        Exit failure;
    };
    // Runs the program until then. In and out go General, Segments, Fpu, Debug and Events; Control and Msrs are looked
    // at.
    Result run(CpuFile& cpu, Deadline& deadline);

    void kick() { kicker_.kick(); }
    bool take_kick() { return kicker_.take_kick(); }
    void collect_dirty() { slots_.collect_dirty(); }

    static constexpr unsigned kNoVector = 257;  // KVM could not emulate the instruction

    // What run() has counted.
    struct Counts {
        u64 entries = 0, shadows_dropped = 0, device_accesses = 0, page_faults = 0, system_calls = 0, other_traps = 0;
        std::array<u64, kExitKinds> exits{};
    };
    const Counts& counts() const { return counts_; }

private:
    UserMode(Machine& machine, const KvmDevice& device, KvmVm vm, KvmVcpu vcpu, std::unique_ptr<Shim> shim,
             bool dirty_log);
    Expected<void> start(const KvmDevice& device);
    Expected<void> rebuild_slots();
    Expected<void> set_msrs(u64 tsc_aux);
    Expected<void> put_fpu(const FpuGroup& fpu);
    Expected<void> take_fpu(FpuGroup& fpu);
    Expected<bool> prepare(const CpuFile& cpu);
    void fill_registers(const CpuFile& cpu);
    Result enter(CpuFile& cpu, Deadline& deadline);
    bool take_state(CpuFile& cpu, Result& result);
    bool code_is(const CpuFile& cpu, u64 rip, std::initializer_list<u8> bytes) const;
    void undo_trap(CpuFile& cpu, unsigned vector);
    bool take_single_step();
    Result failed(std::string text);
    bool at_stub();
    bool access(Exit exit);
    bool device_changed(u64 guest_root);

    Machine& machine_;
    KvmVm vm_;
    KvmVcpu vcpu_;
    std::unique_ptr<Shim> shim_;
    MemorySlots slots_;
    Kicker kicker_;
    TableWatch watch_;
    bool shadow_paging_;
    bool translations_stale_ = false;  // those that the CPU itself may have kept of the program's tables
    bool pvm_;                         // kvm_pvm: the vCPU's IF is the host's, and SYSCALL stays at ring 3
    u64 seen_map_generation_ = 0;
    u64 apic_base_ = 0;  // as KVM wants it back
    u64 root_ = 0;       // the shim's copy that CR3 gets
    u64 tsc_aux_ = 0;
    FpuGroup fpu_;  // what the vCPU has
    XsaveArea xsave_{};
    Counts counts_;
};

}  // namespace dualvm::kvm
