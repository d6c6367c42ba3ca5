#include "dualvm/kvm/kvm_engine.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "coalesced_writes.h"
#include "cpuid.h"
#include "exits.h"
#include "host_kind.h"
#include "kick.h"
#include "memory_slots.h"
#include "probe/direct_modes.h"
#include "rescue.h"
#include "state_transfer.h"

namespace dualvm {

namespace kvm {

namespace {

class KvmEngine final : public Engine {
public:
    KvmEngine(Machine& machine, KvmOptions& options, KvmDevice device, KvmVm vm, KvmVcpu vcpu, StateTransfer transfer,
              bool stays_at_failures)
        : machine_(machine),
          rescuer_(machine, std::move(options.rescue)),
          device_(std::move(device)),
          vm_(std::move(vm)),
          vcpu_(std::move(vcpu)),
          transfer_(std::move(transfer)),
          slots_(vm_, machine.vmem(), device_.capability(KVM_CAP_READONLY_MEM) != 0, options.dirty_log),
          coalesced_(vm_, vcpu_),
          kicker_(vcpu_.run()),
          shadow_paging_(!nested_paging(host_kind())),
          stays_at_failures_(stays_at_failures),
          write_observer_(machine.vmem().add_write_observer([this](u64, u64) { shadows_hold_ = false; })) {}
    ~KvmEngine() override { machine_.vmem().remove_write_observer(write_observer_); }

    Expected<void> start();

    const char* name() const override { return "kvm"; }
    Capabilities capabilities() const override { return {.dirty_log = slots_.logs_dirty()}; }
    TriedCapabilities tried_capabilities() const override { return direct_modes(device_); }
    Exit run(const Budget& budget) override;
    void kick() override { kicker_.kick(); }
    void pull(Groups groups) override;
    void push(Groups groups) override;
    void finish_access() override;
    u64 instructions() const override { return 0; }
    void collect_dirty() override { slots_.collect_dirty(); }
    EngineStatistics statistics() const override {
        EngineStatistics all = statistics_;
        if (coalesced_count_ != 0) all.named["writes gathered by KVM"] = coalesced_count_;
        return all;
    }

private:
    Exit counted(Exit exit) {
        ++statistics_.exits[static_cast<std::size_t>(exit.kind)];
        return exit;
    }
    Exit of_kind(ExitKind kind) {
        Exit exit;
        exit.kind = kind;
        return counted(std::move(exit));
    }
    static Exit failure(std::string text) {
        Exit exit;
        exit.kind = ExitKind::Failure;
        exit.text = std::move(text);
        return exit;
    }
    // What KVM refuses to be told: nothing is wrong with an instruction, the host cannot go on with this guest.
    static Exit failure(const Error& error) {
        Exit exit = failure(error.text);
        exit.status = error.status;
        return exit;
    }
    Exit failed(std::string text) { return counted(failure(std::move(text))); }
    Exit failed(const Error& error) { return counted(failure(error)); }
    Expected<void> rebuild_slots();
    bool set_single_step(bool on);
    bool wakes_up();
    void inject_events();
    Exit classify();
    void enter_apic_registers();
    void leave_apic_registers();
    void transfer_in(Groups groups);
    void transfer_out(Groups groups);
    void handle_coalesced();
    Expected<void> hold_shadows();
    void describe_failure(Exit& exit);
    std::optional<Exit> rescue(Exit exit);

    Machine& machine_;
    Rescuer rescuer_;
    KvmDevice device_;
    KvmVm vm_;
    KvmVcpu vcpu_;
    StateTransfer transfer_;
    MemorySlots slots_;
    CoalescedWrites coalesced_;
    Kicker kicker_;
    bool shadow_paging_;
    bool stays_at_failures_;  // what KVM cannot emulate changes nothing, and raises no #UD besides
    // Nobody but the guest's own code has written to memory since KVM has dropped its shadows of page tables.
    bool shadows_hold_ = true;
    u64 write_observer_;  // of writes by devices and loaders
    EngineStatistics statistics_;
    u64 coalesced_count_ = 0;
    u64 seen_map_generation_ = 0;
    u64 seen_apic_base_ = 0;
    // After a port or MMIO exit the instruction is half done: KVM finishes it when it is entered again, and not before
    // then are the registers those of an instruction boundary.
    bool access_pending_ = false;
    bool halted_ = false;
    bool single_stepping_ = false;
    bool push_failed_ = false;      // the vCPU does not have the state that it was to have
    std::optional<Exit> deferred_;  // a failure met outside of run(), for the next run() to return
};

Expected<void> KvmEngine::start() {
    if (auto built = rebuild_slots(); !built) return built;
    push(Groups::All);
    if (deferred_) return fail(ExitStatus::EngineUnavailable, deferred_->text);
    return {};
}

Expected<void> KvmEngine::rebuild_slots() {
    finish_access();
    seen_map_generation_ = machine_.vmem().map_generation();
    return slots_.rebuild();
}

// --- running ---------------------------------------------------------------------------------------------------------

// Interrupts come from the machine's controller in user space: injected when the vCPU can take one; where it cannot
// yet, KVM is asked to come back as soon as it can.
void KvmEngine::inject_events() {
    kvm_run& run = vcpu_.run();
    run.request_interrupt_window = 0;
    if (!machine_.interrupt_pending()) return;
    if (run.ready_for_interrupt_injection != 0 && run.if_flag != 0) {
        kvm_interrupt interrupt{};
        interrupt.irq = machine_.acknowledge_interrupt();
        if (ioctl(vcpu_.fd(), KVM_INTERRUPT, &interrupt) == 0) ++statistics_.interrupts_injected;
        run.ready_for_interrupt_injection = 0;  // one at a time
        if (!machine_.interrupt_pending()) return;
    }
    run.request_interrupt_window = 1;
}

bool KvmEngine::set_single_step(bool on) {
    // Each time: KVM steps with RFLAGS.TF on CPUs, and forgets that one when registers are set and in handlers.
    if (!on && !single_stepping_) return true;
    kvm_guest_debug debug{};
    if (on) debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    if (ioctl(vcpu_.fd(), KVM_SET_GUEST_DEBUG, &debug) < 0) return false;
    single_stepping_ = on;
    return true;
}

// KVM left the guest behind its HLT: whether it goes on is decided here.
bool KvmEngine::wakes_up() {
    transfer_in(Groups::General | Groups::Events);
    const EventGroup& events = machine_.cpu().events;
    const bool interrupts = (machine_.cpu().general.rflags & rflags::IF) != 0;
    const bool nmi = events.nmi_pending && !events.nmi_masked;
    if (!(machine_.interrupt_pending() && interrupts) && !nmi) return false;
    halted_ = machine_.cpu().events.halted = false;
    return true;
}

// KVM_RUN came back with something in kvm_run: what, and what follows for the engine.
Exit KvmEngine::classify() {
    Exit exit = translate_exit(vcpu_.run());
    switch (exit.kind) {
        case ExitKind::MmioRead:
        case ExitKind::MmioWrite:
            if (exit.address < kAliasedBelow) exit.address &= machine_.vmem().a20_mask();
            access_pending_ = true;
            break;
        case ExitKind::PortRead:
        case ExitKind::PortWrite: access_pending_ = true; break;
        case ExitKind::Halt: halted_ = true; break;
        default: break;
    }
    return exit;
}

// What KVM gathered came before whatever made it come back, and is handled before that.
void KvmEngine::handle_coalesced() {
    for (Exit exit; coalesced_.take(exit);) {
        if (exit.kind == ExitKind::MmioWrite && exit.address < kAliasedBelow) {
            exit.address &= machine_.vmem().a20_mask();
        }
        ++statistics_.exits[static_cast<std::size_t>(exit.kind)];
        ++coalesced_count_;
        handle_exit(machine_, exit);
    }
}

Exit KvmEngine::run(const Budget& budget) {
    if (deferred_) return counted(*std::exchange(deferred_, std::nullopt));
    if (budget.instructions == 0) return of_kind(ExitKind::BudgetUsed);
    if (budget.instructions != kUnlimited && !(budget.instructions == 1 && tried_capabilities().single_step)) {
        return failed("KVM cannot count instructions on this host (see 'dualvm probe'); use --engine=interp");
    }
    if (!set_single_step(budget.instructions == 1)) {
        return failed(fmt::format("KVM_SET_GUEST_DEBUG failed: {}", std::strerror(errno)));
    }
    Deadline deadline = Deadline::after(budget.host_time);
    while (true) {
        if (kicker_.take_kick()) return of_kind(ExitKind::Kicked);
        if (machine_.attention()) return of_kind(ExitKind::Attention);
        if (machine_.vmem().map_generation() != seen_map_generation_) {
            if (auto built = rebuild_slots(); !built) return failed(built.error());
        }
        if (auto held = hold_shadows(); !held) return failed(held.error());
        if (halted_ && !wakes_up()) return of_kind(ExitKind::Halt);
        coalesced_.follow(machine_.vio());
        inject_events();

        if (!kicker_.enter(deadline)) return failed(fmt::format("no timer: {}", std::strerror(errno)));
        enter_apic_registers();
        const int result = ioctl(vcpu_.fd(), KVM_RUN, 0);
        const int error = errno;
        kicker_.leave();
        access_pending_ = false;
        leave_apic_registers();
        handle_coalesced();
        if (result < 0) {
            if (error != EINTR && error != EAGAIN) {
                Exit exit = failed(fmt::format("KVM_RUN failed: {}", std::strerror(error)));
                describe_failure(exit);
                return exit;
            }
            if (kicker_.take_kick()) return of_kind(ExitKind::Kicked);
            if (deadline.passed()) return of_kind(ExitKind::BudgetUsed);
            continue;  // a signal that meant somebody else
        }
        Exit exit = classify();
        coalesced_.notice(exit, machine_.vio());
        if (exit.kind != ExitKind::Failure) return counted(std::move(exit));
        if (is_emulation_failure(vcpu_.run()) && rescuer_.available()) {
            if (auto instead = rescue(std::move(exit))) return counted(*std::move(instead));
            if (budget.instructions == 1) return of_kind(ExitKind::SingleStep);
            continue;
        }
        describe_failure(exit);
        return counted(std::move(exit));
    }
}

// Lets KVM complete a port or MMIO instruction: entered with immediate_exit set, it does that and no more.
void KvmEngine::finish_access() {
    kvm_run& run = vcpu_.run();
    while (access_pending_) {
        access_pending_ = false;
        // A kick in between is not lost: take_kick() remembers it, immediate_exit is only its bell.
        run.immediate_exit = 1;
        const int result = ioctl(vcpu_.fd(), KVM_RUN, 0);
        const int error = errno;
        run.immediate_exit = 0;
        handle_coalesced();
        if (result < 0) {
            if (error != EINTR && error != EAGAIN) {
                deferred_ = failure(fmt::format("KVM_RUN, to complete an access, failed: {}", std::strerror(error)));
            }
            return;
        }
        // An access that is split has further parts, which are handled here as the run loop would.
        Exit exit = classify();
        if (access_pending_) {
            ++statistics_.exits[static_cast<std::size_t>(exit.kind)];
            handle_exit(machine_, exit);
        } else if (is_emulation_failure(run) && stays_at_failures_) {
            return;  // at an instruction that KVM has read an operand of and cannot work with: run() comes to it again
        } else if (exit.kind == ExitKind::Failure || exit.kind == ExitKind::Shutdown) {
            deferred_ = std::move(exit);
        }
    }
}

// The local APIC is in user space: what the CPU has of it in its own registers goes in and out with kvm_run.
void KvmEngine::enter_apic_registers() {
    if (const auto cr8 = machine_.cr8()) vcpu_.run().cr8 = *cr8;
}

void KvmEngine::leave_apic_registers() {
    const kvm_run& run = vcpu_.run();
    if (machine_.cr8() && run.cr8 != *machine_.cr8()) machine_.cr8_changed(run.cr8);
    if (run.apic_base == seen_apic_base_) return;
    seen_apic_base_ = run.apic_base;
    machine_.apic_base_changed(run.apic_base);
}

// --- state -----------------------------------------------------------------------------------------------------------

void KvmEngine::transfer_in(Groups groups) {
    finish_access();
    if (push_failed_) return;  // the guest's state is CpuFile's alone
    auto done = transfer_.pull(vcpu_, machine_.cpu(), groups);
    if (!done) deferred_ = failure(done.error());
    if (any(groups & Groups::Events)) machine_.cpu().events.halted = halted_;
    if (any(groups & Groups::Control)) transfer_.complete_pdptes(machine_.cpu(), machine_.vmem());
    if (any(groups & Groups::Control)) machine_.cpu().control.cr8 = machine_.cr8().value_or(machine_.cpu().control.cr8);
}

void KvmEngine::transfer_out(Groups groups) {
    const CpuFile& cpu = machine_.cpu();
    finish_access();
    if (auto done = transfer_.push(vcpu_, cpu, groups); !done) {
        deferred_ = failure(done.error());
        deferred_->rip = cpu.general.rip;
        push_failed_ = true;
    } else if (groups == Groups::All) {
        push_failed_ = false;
    }
    // kvm_run speaks of the state at the last exit; whether an interrupt is possible now is known from the new one.
    kvm_run& run = vcpu_.run();
    // A TPR of that class may have lower bits, which a write to CR8 clears (SDM vol. 3A, 10.8.6.1).
    if (any(groups & Groups::Control) && machine_.cr8() != cpu.control.cr8) machine_.cr8_changed(cpu.control.cr8);
    if (any(groups & Groups::Msrs)) {
        seen_apic_base_ = cpu.msrs.apic_base;
        machine_.apic_base_changed(cpu.msrs.apic_base);
    }
    if (any(groups & Groups::General)) run.if_flag = (cpu.general.rflags & rflags::IF) != 0;
    if (any(groups & Groups::Events)) {
        const EventGroup& e = cpu.events;
        halted_ = e.halted;
        run.ready_for_interrupt_injection = !e.interrupt_shadow_sti && !e.interrupt_shadow_mov_ss &&
                                            !e.exception_pending && !e.interrupt_accepted && !e.nmi_pending;
    }
}

void KvmEngine::pull(Groups groups) {
    ++statistics_.pulls;
    transfer_in(groups);
}

void KvmEngine::push(Groups groups) {
    ++statistics_.pushes;
    transfer_out(groups);
    // Another engine may have run since, and have changed page tables: also those that are in use again only once the
    // guest has turned paging on. Now, and not when it is entered: a hand-over is not part of anybody's time.
    if (any(groups & Groups::Control)) shadows_hold_ = false;
    if (auto held = hold_shadows(); !held && !deferred_) deferred_ = failure(held.error());
}

Expected<void> KvmEngine::hold_shadows() {
    if (std::exchange(shadows_hold_, true) || !shadow_paging_ || slots_.drop_shadows()) return {};
    return ioctl_error("KVM_SET_USER_MEMORY_REGION, to drop stale shadows,");
}

// --- failures --------------------------------------------------------------------------------------------------------

void KvmEngine::describe_failure(Exit& exit) {
    transfer_in(Groups::General | Groups::Segments | Groups::Control);
    const CpuFile& cpu = machine_.cpu();
    exit.rip = cpu.general.rip;
    if (exit.byte_count != 0) return;
    while (exit.byte_count < exit.bytes.size()) {
        kvm_translation translation{};
        translation.linear_address = cpu.code_base() + cpu.general.rip + exit.byte_count;
        if (ioctl(vcpu_.fd(), KVM_TRANSLATE, &translation) < 0 || translation.valid == 0) return;
        u64 at = translation.physical_address;
        do {
            if (!machine_.vmem().read_value(at, exit.bytes[exit.byte_count])) return;
            ++exit.byte_count;
            ++at;
        } while (exit.byte_count < exit.bytes.size() && (at & kPageMask) != 0);
    }
}

// KVM cannot emulate the instruction at RIP: the other engine executes that one, on the same CpuFile and memory. What
// is returned ends the run; with nothing, KVM goes on.
std::optional<Exit> KvmEngine::rescue(Exit exit) {
    describe_failure(exit);
    transfer_in(Groups::Msrs | Groups::Fpu | Groups::Debug | Groups::Events);
    EventGroup& events = machine_.cpu().events;
    // Kernels without KVM_CAP_EXIT_ON_EMULATION_FAILURE have queued an #UD beside their exit: it is not to be.
    constexpr u8 kInvalidOpcode = 6;
    if (events.exception_pending && events.exception_vector == kInvalidOpcode) events.exception_pending = false;
    if (deferred_) return std::exchange(deferred_, std::nullopt);

    Rescuer::Result result = rescuer_.execute_one();
    if (!result.executed) {
        exit.text += "; the rescue engine cannot execute it either";
        if (!result.exit.text.empty()) exit.text += ": " + result.exit.text;
        return exit;
    }
    ++statistics_.rescues;
    count_rescue(statistics_.named, exit, result.length);
    // Only what has changed goes back; events always, as KVM knows of more than CpuFile does.
    transfer_out(result.changed | Groups::Events);
    if (result.wrote_memory) shadows_hold_ = false;  // it may have been a page table
    if (deferred_) return std::exchange(deferred_, std::nullopt);
    if (result.exit.kind == ExitKind::Shutdown || result.exit.kind == ExitKind::Breakpoint) return result.exit;
    return std::nullopt;
}

Expected<std::unique_ptr<Engine>> make(Machine& machine, KvmOptions options) {
    auto device = KvmDevice::open(options.device);
    if (!device) return tl::unexpected(device.error());
    for (auto [number, name] :
         {std::pair{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
          std::pair{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
          std::pair{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"}, std::pair{KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
          std::pair{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"}, std::pair{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"}}) {
        if (device->capability(static_cast<u64>(number)) == 0) {
            return fail(ExitStatus::EngineUnavailable,
                        fmt::format("{} lacks {}: its kernel is too old", options.device, name));
        }
    }
    auto vm = KvmVm::create(*device);
    if (!vm) return tl::unexpected(vm.error());
    // With it, what KVM cannot emulate comes to user space from every ring; else ring 3 gets #UD behind our back.
    const bool stays_at_failures = vm->exit_on_emulation_failure();
    auto vcpu = KvmVcpu::create(*device, *vm);
    if (!vcpu) return tl::unexpected(vcpu.error());
    vcpu->hide_paravirtual_msrs();
    if (auto set = set_cpuid(*device, *vcpu, machine.cpu_model(), options.cpuid_differences); !set) {
        return tl::unexpected(set.error());
    }
    auto transfer = StateTransfer::create(*device, *vm, *vcpu);
    if (!transfer) return tl::unexpected(transfer.error());
    auto engine = std::make_unique<KvmEngine>(machine, options, std::move(*device), std::move(*vm), std::move(*vcpu),
                                              std::move(*transfer), stays_at_failures);
    if (auto started = engine->start(); !started) return tl::unexpected(started.error());
    return engine;
}

}  // namespace

}  // namespace kvm

Expected<std::unique_ptr<Engine>> make_kvm_engine(Machine& machine, KvmOptions options) {
    return kvm::make(machine, std::move(options));
}

}  // namespace dualvm
