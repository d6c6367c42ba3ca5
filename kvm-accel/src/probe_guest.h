// A guest of a few instructions on a bare vCPU, for the probe.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "dualvm/machine.h"
#include "kick.h"
#include "memory_slots.h"
#include "state_transfer.h"

namespace dualvm::kvm {

// Where things are in the probe's guest memory.
namespace probe_layout {
inline constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kTable = 0x4000, kGdt = 0x5000, kIdt = 0x6000,
                     kTss = 0x7000, kCode = 0x8000, kHandler = 0x9000, kStubs = 0xa000, kStackTop = 0x20000,
                     kDirectory32 = 0x21000, kTestPages = 0x100000;
inline constexpr u16 kCode64 = 0x08, kData = 0x10, kCode32 = 0x18, kUserData = 0x23, kUserCode64 = 0x2b,
                     kUserCode32 = 0x33, kTssSelector = 0x38;
}  // namespace probe_layout

enum class ProbeMode { Ring3Long, Ring0Long, Ring0Protected32, Real, Ring3Compatibility };

class ProbeGuest {
public:
    static Expected<std::unique_ptr<ProbeGuest>> create(const std::string& device_path);

    // Memory, tables and registers for `mode`, with `code` at kCode. More can be changed in cpu() before begin().
    void prepare(ProbeMode mode, std::span<const u8> code);
    CpuFile& cpu() { return machine_->cpu(); }
    VMem& vmem() { return machine_->vmem(); }
    // An interrupt gate for `vector` to kHandler, where `code` goes.
    void set_handler(u8 vector, std::span<const u8> code, unsigned dpl = 0);
    bool begin();  // hands cpu() to the vCPU

    // What the guest did next, waited for at most that long.
    struct Event {
        enum class Kind { Port, Exception, Halt, Failure, TimedOut, Other } kind = Kind::Other;
        u8 value = 0;  // Port: what was written to F0h; Exception: the vector
    };
    Event next(Nanoseconds limit);
    // Brings the guest's registers up to date.
    bool pull(Groups groups) { return transfer_.pull(*vcpu_, cpu(), groups) == nullptr; }

    int vcpu_fd() const { return vcpu_->fd(); }
    kvm_run& run() { return vcpu_->run(); }
    MemorySlots& slots() { return *slots_; }

private:
    explicit ProbeGuest(StateTransfer transfer) : transfer_(std::move(transfer)) {}
    void write_tables();
    void write_descriptor(u16 selector, u64 descriptor);

    std::unique_ptr<Machine> machine_;
    std::unique_ptr<KvmVm> vm_;
    std::unique_ptr<KvmVcpu> vcpu_;
    StateTransfer transfer_;
    std::unique_ptr<MemorySlots> slots_;
    std::unique_ptr<Kicker> kicker_;
};

}  // namespace dualvm::kvm
