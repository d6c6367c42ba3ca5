// Programs run on the CPU, everything else is interpreted: kqemu's way, on today's KVM.
//
// Another engine (the kernel's) runs the guest until 64-bit code at ring 3 is next; a vCPU runs that until it needs its
// kernel; and so on. The state is always the kernel's engine's, but for the time that a program is on the vCPU.
// That is made when the first program asks for it: a guest starts as soon as it can be interpreted.
#include <fmt/format.h>

#include "assist/user_mode.h"
#include "dualvm/kvm/kvm_engine.h"
#include "host_kind.h"
#include "kvm_handles.h"
#include "probe/direct_modes.h"

namespace dualvm {

namespace kvm {

namespace {

class AssistedEngine final : public Engine {
public:
    AssistedEngine(Machine& machine, std::unique_ptr<Engine> kernel, KvmDevice device, const AssistedOptions& options)
        : machine_(machine),
          kernel_(std::move(kernel)),
          device_(std::move(device)),
          patience_(options.patience),
          dirty_log_(options.dirty_log) {}

    const char* name() const override { return "kvm"; }
    Capabilities capabilities() const override { return {.dirty_log = dirty_log_}; }
    TriedCapabilities tried_capabilities() const override {
        TriedCapabilities can = direct_modes(device_);
        can.single_step = kernel_->tried_capabilities().single_step;
        return can;
    }
    Exit run(const Budget& budget) override;
    void kick() override {
        kicked_.store(true);
        if (UserMode* user = kickable_.load()) user->kick();
        kernel_->kick();
    }
    void pull(Groups groups) override { kernel_->pull(groups); }
    void push(Groups groups) override {
        at_program_ = false;
        kernel_->push(groups);
    }
    void finish_access() override { kernel_->finish_access(); }
    u64 instructions() const override { return 0; }
    void collect_dirty() override {
        kernel_->collect_dirty();
        if (user_) user_->collect_dirty();
    }
    EngineStatistics statistics() const override;

    // Makes the vCPU for programs.
    Expected<void> make_user_mode();

private:
    Exit counted(ExitKind kind) {
        ++exits_[static_cast<std::size_t>(kind)];
        Exit exit;
        exit.kind = kind;
        return exit;
    }
    Exit interpret(const Deadline& deadline, Until until, u64 instructions = kUnlimited);

    // A program that is not for the vCPU is interpreted for so many instructions before it is looked at again.
    static constexpr u64 kRefusedFor = 20'000;

    Machine& machine_;
    std::unique_ptr<Engine> kernel_;
    KvmDevice device_;
    std::unique_ptr<UserMode> user_;            // once a program has asked for it
    std::atomic<UserMode*> kickable_{nullptr};  // the same, for other threads
    u64 patience_;
    bool dirty_log_;
    std::array<u64, kExitKinds> exits_{};
    std::map<std::string, u64> refusals_;
    std::atomic<bool> kicked_{false};
    // A program that left the vCPU by nothing that it did may go on there at once: where it was, and whether nothing
    // else has been since.
    bool at_program_ = false;
    static constexpr u64 kNowhere = ~u64{0};
    u64 interrupted_rip_ = kNowhere, interrupted_cr3_ = 0;
    Nanoseconds user_time_ = 0, kernel_time_ = 0;
};

// For what is left until the deadline.
Exit AssistedEngine::interpret(const Deadline& deadline, Until until, u64 instructions) {
    Budget part{.instructions = instructions, .until = until};
    const Nanoseconds start = monotonic_now();
    if (deadline.at != kNever) part.host_time = deadline.at > start ? deadline.at - start : 1;
    Exit exit = kernel_->run(part);
    kernel_time_ += monotonic_now() - start;
    if (exit.kind == ExitKind::SingleStep) exit.kind = ExitKind::BudgetUsed;  // --patience=1: nobody's step
    return exit;
}

Expected<void> AssistedEngine::make_user_mode() {
    auto made = UserMode::create(machine_, device_, dirty_log_);
    if (!made) return tl::unexpected(made.error());
    user_ = std::move(*made);
    kickable_.store(user_.get());
    return {};
}

Exit AssistedEngine::run(const Budget& budget) {
    if (budget.instructions != kUnlimited) {  // it can count; single steps first of all
        at_program_ = false;
        return kernel_->run(budget);
    }
    Deadline deadline = Deadline::after(budget.host_time);
    constexpr Groups kIn = Groups::General | Groups::Segments | Groups::Control | Groups::Debug | Groups::Msrs |
                           Groups::Fpu | Groups::Events;
    constexpr Groups kOut = Groups::General | Groups::Segments | Groups::Fpu | Groups::Debug | Groups::Events;
    while (true) {
        // One of the two hears a kick first; what the other hears later is none.
        if (kicked_.exchange(false)) return counted(ExitKind::Kicked);
        Exit exit;
        if (!std::exchange(at_program_, false) || machine_.interrupt_pending()) {
            exit = interpret(deadline, Until::Program);
            if (exit.kind == ExitKind::Kicked) continue;
            if (exit.kind != ExitKind::UserMode) return exit;
        }
        kernel_->pull(kIn);
        CpuFile& cpu = machine_.cpu();
        const bool goes_on = cpu.general.rip == interrupted_rip_ && cpu.control.cr3 == interrupted_cr3_;
        interrupted_rip_ = kNowhere;
        if (!goes_on && patience_ != 0) {
            exit = interpret(deadline, Until::Kernel, patience_);
            if (exit.kind == ExitKind::KernelMode || exit.kind == ExitKind::Kicked) continue;
            if (exit.kind != ExitKind::BudgetUsed || deadline.passed()) return exit;
            kernel_->pull(kIn);
        }
        UserMode::Result result;
        const char* refused = UserMode::refuses(cpu, machine_.vmem());
        if (refused == nullptr && !user_) {
            if (const auto made = make_user_mode(); !made) {
                Exit failed = counted(ExitKind::Failure);
                failed.rip = cpu.general.rip;
                failed.text = fmt::format("no vCPU for the guest's programs: {}", made.error().text);
                failed.status = made.error().status;
                return failed;
            }
            if (kicked_.exchange(false)) return counted(ExitKind::Kicked);  // by one who did not see the vCPU yet
        }
        const GeneralGroup before = cpu.general;
        if (refused == nullptr) {
            const Nanoseconds start = monotonic_now();
            result = user_->run(cpu, deadline);
            user_time_ += monotonic_now() - start;
            if (result.end == UserMode::End::Refused) refused = "page tables out of bounds";
        }
        if (refused != nullptr) {
            ++refusals_[refused];
            exit = interpret(deadline, Until::Limits, kRefusedFor);
            if (exit.kind == ExitKind::Kicked || (exit.kind == ExitKind::BudgetUsed && !deadline.passed())) continue;
            return exit;
        }
        if (result.end == UserMode::End::Failure) {
            ++exits_[static_cast<std::size_t>(ExitKind::Failure)];
            return result.failure;
        }
        kernel_->push(kOut);
        if (result.end == UserMode::End::Trap) continue;
        // A program that is where it was may be at an instruction that KVM does not get past (kvm_pvm and SGDT into a
        // device's memory): that one is interpreted.
        at_program_ = cpu.general != before;
        if (at_program_) {
            interrupted_rip_ = cpu.general.rip;
            interrupted_cr3_ = cpu.control.cr3;
        }
        if (result.end == UserMode::End::Deadline) return counted(ExitKind::BudgetUsed);
        if (result.end == UserMode::End::Device && machine_.attention()) return counted(ExitKind::Attention);
    }
}

EngineStatistics AssistedEngine::statistics() const {
    EngineStatistics all = kernel_->statistics();
    const UserMode::Counts c = user_ ? user_->counts() : UserMode::Counts{};
    for (std::size_t i = 0; i < kExitKinds; ++i) all.exits[i] += exits_[i] + c.exits[i];
    auto& n = all.named;
    n["hand-overs to the CPU"] = c.entries;
    n["back for a system call"] = c.system_calls;
    n["back for a page fault"] = c.page_faults;
    n["back for another exception"] = c.other_traps;
    n["device accesses by programs"] = c.device_accesses;
    n["shadow page tables dropped"] = c.shadows_dropped;
    n["instructions interpreted"] = kernel_->instructions();
    n["milliseconds interpreted"] = kernel_time_ / 1'000'000;
    n["milliseconds in programs"] = user_time_ / 1'000'000;
    for (const auto& [why, count] : refusals_) n[fmt::format("interpreted: {}", why)] = count;
    return all;
}

}  // namespace

}  // namespace kvm

bool runs_programs_alone(const std::string& path) {
    const kvm::HostKind kind = kvm::host_kind();
    if (kvm::nested_paging(kind)) return false;
    auto device = kvm::KvmDevice::open(path);
    return device && (kind == kvm::HostKind::Pvm || kvm::programs_alone_run_directly(*device));
}

Expected<std::unique_ptr<Engine>> make_assisted_engine(Machine& machine, std::unique_ptr<Engine> kernel,
                                                       const AssistedOptions& options) {
    if (!kernel->capabilities().stops_at_modes) {
        return fail(
            ExitStatus::EngineUnavailable,
            fmt::format("the engine '{}' does not stop at programs: it cannot be the kernel's", kernel->name()));
    }
    auto device = kvm::KvmDevice::open(options.device);
    if (!device) return tl::unexpected(device.error());
    if (auto usable = kvm::UserMode::check(*device); !usable) return tl::unexpected(usable.error());
    auto engine = std::make_unique<kvm::AssistedEngine>(machine, std::move(kernel), std::move(*device), options);
    if (options.ready_made) {
        if (auto made = engine->make_user_mode(); !made) return tl::unexpected(made.error());
    }
    return engine;
}

}  // namespace dualvm
