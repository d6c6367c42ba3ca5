#include "dualvm/kvm/kvm_engine.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cpuid.h"
#include "exits.h"
#include "host_kind.h"
#include "kick.h"
#include "memory_slots.h"
#include "state_transfer.h"

namespace dualvm {

namespace kvm {

namespace {

constexpr u32 mode_bit(CpuMode mode) { return 1u << static_cast<unsigned>(mode); }
constexpr u32 kAllModes = 0x7f;

class KvmEngine final : public Engine {
public:
    KvmEngine(Machine& machine, KvmOptions& options, KvmDevice device, KvmVm vm, KvmVcpu vcpu, StateTransfer transfer)
        : machine_(machine),
          rescue_(std::move(options.rescue)),
          device_(std::move(device)),
          vm_(std::move(vm)),
          vcpu_(std::move(vcpu)),
          transfer_(std::move(transfer)),
          slots_(vm_, machine.vmem(), device_.capability(KVM_CAP_READONLY_MEM) != 0),
          kicker_(vcpu_.run()),
          host_(host_kind()) {}

    Expected<void> start();

    const char* name() const override { return "kvm"; }
    Capabilities capabilities() const override;
    Exit run(const Budget& budget) override;
    void kick() override { kicker_.kick(); }
    void pull(Groups groups) override;
    void push(Groups groups) override;
    void finish_access() override;
    u64 instructions() const override { return 0; }
    void collect_dirty() override { slots_.collect_dirty(); }
    EngineStatistics statistics() const override { return statistics_; }

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
    Exit failed(const char* what);
    void inject_events();
    void set_single_step(bool on);
    bool wakes_up();
    Exit after_failure(Exit exit);
    Exit rescue(Exit failure);
    void describe_failure(Exit& exit);

    Machine& machine_;
    std::unique_ptr<Engine> rescue_;
    KvmDevice device_;
    KvmVm vm_;
    KvmVcpu vcpu_;
    StateTransfer transfer_;
    MemorySlots slots_;
    Kicker kicker_;
    HostKind host_;
    EngineStatistics statistics_;
    u64 seen_map_generation_ = 0;
    // After a port or MMIO exit the instruction is half done: KVM finishes it when it is entered again, and not before
    // then are the registers those of an instruction boundary.
    bool access_pending_ = false;
    bool halted_ = false;
    bool single_stepping_ = false;
    const char* transfer_failed_ = nullptr;  // reported by the next run()
    u64 last_rescue_rip_ = 0;
    unsigned rescues_in_place_ = 0;
};

Expected<void> KvmEngine::start() {
    if (auto built = slots_.rebuild(); !built) return built;
    seen_map_generation_ = machine_.vmem().map_generation();
    push(Groups::All);
    if (transfer_failed_ != nullptr) return ioctl_error(transfer_failed_);
    return {};
}

Capabilities KvmEngine::capabilities() const {
    Capabilities c;
    c.single_step = vm_.capability(KVM_CAP_SET_GUEST_DEBUG) != 0;
    c.dirty_log = true;
    if (nested_paging(host_)) {
        c.direct_modes_ring0 = c.direct_modes_ring3 = kAllModes;
    } else {
        c.direct_modes_ring3 = mode_bit(CpuMode::Long64);
    }
    return c;
}

Exit KvmEngine::failed(const char* what) {
    Exit exit;
    exit.kind = ExitKind::Failure;
    exit.text = fmt::format("{} failed: {}", what, std::strerror(errno));
    return counted(std::move(exit));
}

// Interrupts come from the machine's controller in user space: injected when the vCPU can take one, and asked to be
// told when it can where it cannot yet.
void KvmEngine::inject_events() {
    kvm_run& run = vcpu_.run();
    run.request_interrupt_window = 0;
    if (!machine_.interrupt_pending()) return;
    if (run.ready_for_interrupt_injection != 0 && run.if_flag != 0) {
        kvm_interrupt interrupt{};
        interrupt.irq = machine_.acknowledge_interrupt();
        if (ioctl(vcpu_.fd(), KVM_INTERRUPT, &interrupt) == 0) ++statistics_.interrupts_injected;
        if (!machine_.interrupt_pending()) return;
    }
    run.request_interrupt_window = 1;
}

void KvmEngine::set_single_step(bool on) {
    if (on == single_stepping_) return;
    kvm_guest_debug debug{};
    if (on) debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    if (ioctl(vcpu_.fd(), KVM_SET_GUEST_DEBUG, &debug) == 0) single_stepping_ = on;
}

bool KvmEngine::wakes_up() {
    pull(Groups::General);
    const bool interrupts = (machine_.cpu().general.rflags & rflags::IF) != 0;
    return (machine_.interrupt_pending() && interrupts) || machine_.cpu().events.nmi_pending;
}

Exit KvmEngine::run(const Budget& budget) {
    if (transfer_failed_ != nullptr) return failed(std::exchange(transfer_failed_, nullptr));
    if (budget.instructions == 0) return of_kind(ExitKind::BudgetUsed);
    kvm_run& run = vcpu_.run();
    if (machine_.vmem().map_generation() != seen_map_generation_) {
        finish_access();
        seen_map_generation_ = machine_.vmem().map_generation();
        if (auto built = slots_.rebuild(); !built) return failed("KVM_SET_USER_MEMORY_REGION");
    }
    if (halted_) {
        if (!wakes_up()) return of_kind(ExitKind::Halt);
        halted_ = false;
        machine_.cpu().events.halted = false;
    }
    set_single_step(budget.instructions == 1);
    if (kicker_.take_kick()) return of_kind(ExitKind::Kicked);
    if (machine_.attention()) return of_kind(ExitKind::Attention);
    inject_events();

    kicker_.enter(budget.host_time);
    const int result = ioctl(vcpu_.fd(), KVM_RUN, 0);
    kicker_.leave();
    access_pending_ = false;
    if (result < 0) {
        if (errno != EINTR && errno != EAGAIN) return failed("KVM_RUN");
        const bool timeout = kicker_.take_timeout();
        if (kicker_.take_kick()) return of_kind(ExitKind::Kicked);
        return of_kind(timeout ? ExitKind::BudgetUsed : ExitKind::Kicked);
    }
    Exit exit = translate_exit(run);
    switch (exit.kind) {
        case ExitKind::PortRead:
        case ExitKind::PortWrite:
        case ExitKind::MmioRead:
        case ExitKind::MmioWrite: access_pending_ = true; break;
        case ExitKind::Halt: halted_ = true; break;
        case ExitKind::Failure: return after_failure(std::move(exit));
        default: break;
    }
    return counted(std::move(exit));
}

// Lets KVM complete a port or MMIO instruction: entered with immediate_exit set, it does that and no more.
void KvmEngine::finish_access() {
    if (!access_pending_) return;
    access_pending_ = false;
    kvm_run& run = vcpu_.run();
    const u8 kicked = run.immediate_exit;
    run.immediate_exit = 1;
    // Completing an access may need a further one (a string instruction, an access that is split): that exit is handled
    // here as the run loop would.
    while (ioctl(vcpu_.fd(), KVM_RUN, 0) == 0) {
        Exit exit = translate_exit(run);
        if (handle_exit(machine_, exit) != Outcome::Continue) break;
        ++statistics_.exits[static_cast<std::size_t>(exit.kind)];
    }
    run.immediate_exit = kicked;
}

void KvmEngine::pull(Groups groups) {
    finish_access();
    ++statistics_.pulls;
    if (const char* what = transfer_.pull(vcpu_, machine_.cpu(), groups)) transfer_failed_ = what;
    if (any(groups & Groups::Events)) machine_.cpu().events.halted = halted_;
}

void KvmEngine::push(Groups groups) {
    finish_access();
    ++statistics_.pushes;
    if (const char* what = transfer_.push(vcpu_, machine_.cpu(), groups)) transfer_failed_ = what;
    if (any(groups & Groups::Events)) halted_ = machine_.cpu().events.halted;
    // What kvm_run said about interrupts was said of another state: until KVM_RUN says it again, ask for the window.
    vcpu_.run().ready_for_interrupt_injection = 0;
    vcpu_.run().if_flag = (machine_.cpu().general.rflags & rflags::IF) != 0;
}

void KvmEngine::describe_failure(Exit& exit) {
    pull(Groups::General | Groups::Segments | Groups::Control);
    const CpuFile& cpu = machine_.cpu();
    exit.rip = cpu.general.rip;
    if (exit.byte_count != 0) return;
    kvm_translation translation{};
    translation.linear_address = cpu.code_base() + cpu.general.rip;
    if (ioctl(vcpu_.fd(), KVM_TRANSLATE, &translation) < 0 || translation.valid == 0) return;
    u8 byte = 0;
    while (exit.byte_count < exit.bytes.size() &&
           machine_.vmem().read_value(translation.physical_address + exit.byte_count, byte)) {
        exit.bytes[exit.byte_count++] = byte;
    }
}

Exit KvmEngine::after_failure(Exit exit) {
    const bool emulation = is_emulation_failure(vcpu_.run());
    describe_failure(exit);
    if (emulation && rescue_ != nullptr) return rescue(std::move(exit));
    return counted(std::move(exit));
}

// KVM cannot emulate the instruction at RIP: the other engine executes that one, on the same CpuFile and memory.
Exit KvmEngine::rescue(Exit failure) {
    pull(Groups::All);
    const u64 before = machine_.cpu().general.rip;
    rescue_->push(Groups::All);
    const u64 executed = rescue_->instructions();
    Exit exit;
    // A kick or a device's request may come first; the instruction still has to be done.
    constexpr unsigned kAttempts = 16;
    for (unsigned i = 0; i < kAttempts && rescue_->instructions() == executed; ++i) {
        machine_.clear_attention();
        exit = rescue_->run({.instructions = 1});
        if (exit.kind == ExitKind::Shutdown) break;
    }
    if (machine_.pending_request()) machine_.set_attention();
    if (exit.kind != ExitKind::Shutdown && rescue_->instructions() == executed) {
        failure.text += "; the rescue engine could not execute it either";
        return counted(std::move(failure));
    }
    rescue_->pull(Groups::All);
    push(Groups::All);
    if (!nested_paging(host_)) slots_.drop_shadows();
    // An instruction that goes on failing where it stands, without end, is a failure (a REP string may take many
    // turns).
    constexpr unsigned kTooMany = 100'000;
    rescues_in_place_ = before == last_rescue_rip_ && machine_.cpu().general.rip == before ? rescues_in_place_ + 1 : 0;
    last_rescue_rip_ = before;
    if (rescues_in_place_ > kTooMany) {
        failure.text += "; the rescue engine makes no progress with it";
        return counted(std::move(failure));
    }
    ++statistics_.rescues;
    std::string bytes;
    for (unsigned i = 0; i < std::min<unsigned>(failure.byte_count, 4); ++i)
        bytes += fmt::format(" {:02x}", failure.bytes[i]);
    ++statistics_.named["rescued" + bytes];
    if (exit.kind == ExitKind::Shutdown) return counted(std::move(exit));
    if (machine_.cpu().events.halted) {
        halted_ = true;
        return of_kind(ExitKind::Halt);
    }
    return of_kind(machine_.attention() ? ExitKind::Attention : ExitKind::Kicked);
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
            return fail(
                ExitStatus::EngineUnavailable,
                fmt::format("{} lacks {}: its kernel is too old; run with --engine=interp", options.device, name));
        }
    }
    auto vm = KvmVm::create(*device);
    if (!vm) return tl::unexpected(vm.error());
    auto vcpu = KvmVcpu::create(*device, *vm);
    if (!vcpu) return tl::unexpected(vcpu.error());
    if (auto set = set_cpuid(*device, *vcpu, machine.cpu_model(), options.cpuid_differences); !set) {
        return tl::unexpected(set.error());
    }
    auto transfer = StateTransfer::create(*device, *vm, *vcpu);
    if (!transfer) return tl::unexpected(transfer.error());
    auto engine = std::make_unique<KvmEngine>(machine, options, std::move(*device), std::move(*vm), std::move(*vcpu),
                                              std::move(*transfer));
    if (auto started = engine->start(); !started) return tl::unexpected(started.error());
    return engine;
}

}  // namespace

}  // namespace kvm

Expected<std::unique_ptr<Engine>> make_kvm_engine(Machine& machine, KvmOptions options) {
    return kvm::make(machine, std::move(options));
}

}  // namespace dualvm
