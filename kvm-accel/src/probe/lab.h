// A laboratory: a throwaway virtual machine of 2 MiB in which a few bytes of machine code run in a mode and at a ring
// of one's choice, and not for longer than one says.
#pragma once

#include <memory>
#include <string>

#include "dualvm/cpu_file.h"
#include "kick.h"
#include "kvm_handles.h"
#include "kvm_layout.h"
#include "probe/pieces.h"
#include "state_transfer.h"

namespace dualvm::kvm {

enum class LabMode { Real, Protected32, Long64, Compatibility32 };

// The guest's memory map. All of it is mapped one to one, by 4 KiB pages that every ring may write.
namespace lab {
inline constexpr u64 kMemory = u64{2} << 20;
inline constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kPageTable = 0x4000;
inline constexpr u64 kGdt = 0x5000, kIdt = 0x6000, kTss = 0x7000;
inline constexpr u64 kCode = 0x8000;                              // in reach of real mode
inline constexpr u64 kHandlers = 0x9000;                          // of interrupts; for ring 0 alone
inline constexpr u64 kKernelStack = 0xb000, kUserStack = 0xd000;  // their tops
inline constexpr u64 kData = 0xe000, kOtherData = 0xf000;

inline constexpr u8 kDonePort = 0x80;        // code says that it is through: OUT to here
inline constexpr u8 kExceptionPorts = 0xc0;  // + vector: what the handler of every vector does, unless it is set
inline constexpr unsigned kVectors = 64;
inline constexpr u64 kFreeForHandlers = 0x400;  // in that page, behind the handlers of all vectors
inline constexpr u8 kSoftwareVector = 0x30, kInterruptVector = 0x31;

// Selectors. SYSCALL wants this order of kernel code and data, SYSRET that of the user's (SDM vol. 2B).
inline constexpr u16 kKernelCode64 = 0x08, kKernelData = 0x10, kKernelCode32 = 0x18, kUserCode32 = 0x23,
                     kUserData = 0x2b, kUserCode64 = 0x33, kTssSelector = 0x38;
}  // namespace lab

// How a run in the laboratory ended.
struct LabEnd {
    u32 reason = 0;  // KVM_EXIT_...
    u16 port = 0;    // of KVM_EXIT_IO
    bool out_of_time = false;
    int error = 0;  // errno of a KVM_RUN that failed

    bool done() const;              // OUT to lab::kDonePort
    int exception() const;          // the vector, -1 if it was none
    bool emulation_failed = false;  // KVM could not emulate an instruction
    std::string text() const;       // "finished", "exception 6 (#UD)", "no end within the time" ...
};

class Lab {
public:
    // With KVM's own idea of CPUID, or with the given leaves.
    static Expected<std::unique_ptr<Lab>> create(const KvmDevice& device, KvmList<kvm_cpuid_entry2>* cpuid = nullptr);
    ~Lab();

    // Puts the CPU into that mode, at the start of `code`. Port I/O is allowed at ring 3 (IOPL 3); interrupts are off.
    Expected<void> enter(LabMode mode, unsigned ring, Piece code);
    // Runs until KVM comes back with something, for `within` at most.
    LabEnd run(Nanoseconds within = 50'000'000);

    void write(u64 address, Piece bytes);
    // Makes `code` the handler of a vector in 64-bit mode; there is room for one such.
    void set_handler(u8 vector, Piece code);
    u64& word(u64 address) { return *reinterpret_cast<u64*>(memory_ + address); }

    CpuFile& cpu() { return cpu_; }
    // Makes KVM adopt cpu(), or the other way round.
    Expected<void> push(Groups groups) { return transfer_->push(vcpu_, cpu_, groups); }
    Expected<void> pull(Groups groups) { return transfer_->pull(vcpu_, cpu_, groups); }
    // Leaves a half-done port access as it is after it.
    void finish_access();

    KvmVm& vm() { return vm_; }
    KvmVcpu& vcpu() { return vcpu_; }

private:
    Lab(KvmVm vm, KvmVcpu vcpu) : vm_(std::move(vm)), vcpu_(std::move(vcpu)), kicker_(vcpu_.run()) {}
    void build_tables();
    void set_gate(u8 vector, u64 target);

    KvmVm vm_;
    KvmVcpu vcpu_;
    Kicker kicker_;
    std::unique_ptr<StateTransfer> transfer_;
    u8* memory_ = nullptr;
    CpuFile cpu_;
};

}  // namespace dualvm::kvm
