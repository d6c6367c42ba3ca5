#include "dualvm/study/switching.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "switch_conditions.h"

namespace dualvm::study {

namespace {

// While it steps, the host's clock is looked at each time that so many instructions have been executed.
constexpr u64 kStepsBetweenLooks = 32;

Nanoseconds host_now() {
    return static_cast<Nanoseconds>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
            .count());
}

Nanoseconds later(Nanoseconds now, Nanoseconds by) { return by < kNever - now ? now + by : kNever; }

bool is_access(ExitKind kind) {
    return kind == ExitKind::PortRead || kind == ExitKind::PortWrite || kind == ExitKind::MmioRead ||
           kind == ExitKind::MmioWrite;
}

// Ends of a part of the budget, which are nobody's business but the rules'.
bool is_end_of_part(ExitKind kind) {
    return kind == ExitKind::BudgetUsed || kind == ExitKind::SingleStep || kind == ExitKind::UserMode ||
           kind == ExitKind::KernelMode;
}

}  // namespace

// While an engine runs, listens to the exits that it has handled by itself, beside whoever listens already.
class SwitchingEngine::PortWatch {
public:
    PortWatch(SwitchingEngine& owner, bool wanted) : owner_(owner), wanted_(wanted) {
        if (!wanted_) return;
        before_ = owner_.machine_.exit_observer();
        owner_.machine_.observe_exits([this](const Exit& exit) {
            if (before_) before_(exit);
            owner_.written_to_port(exit);
            if (owner_.fired_) owner_.machine_.set_attention();  // comes back behind this instruction
        });
    }
    ~PortWatch() {
        if (wanted_) owner_.machine_.observe_exits(std::move(before_));
    }
    PortWatch(const PortWatch&) = delete;
    PortWatch& operator=(const PortWatch&) = delete;

private:
    SwitchingEngine& owner_;
    bool wanted_;
    std::function<void(const Exit&)> before_;
};

// Adds the time until it is stopped, or started for another part, to the account of who has the guest.
class SwitchingEngine::Stopwatch {
public:
    explicit Stopwatch(SwitchingEngine& owner) : owner_(owner), now_(host_now()) {}
    ~Stopwatch() { add(owner_.accounts_[owner_.active_].running); }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

    // The time, as it was looked at last.
    Nanoseconds now() const { return now_; }
    void add(Nanoseconds& to) {
        const Nanoseconds before = std::exchange(now_, host_now());
        to += now_ - before;
    }
    Nanoseconds look() {
        add(owner_.accounts_[owner_.active_].running);
        return now_;
    }

private:
    SwitchingEngine& owner_;
    Nanoseconds now_;
};

SwitchingEngine::SwitchingEngine(Machine& machine, std::vector<Part> parts, std::vector<std::size_t> targets,
                                 SwitchPlan plan)
    : machine_(machine),
      parts_(std::move(parts)),
      accounts_(parts_.size()),
      targets_(std::move(targets)),
      plan_(std::move(plan)) {}

Expected<std::unique_ptr<SwitchingEngine>> SwitchingEngine::create(Machine& machine, std::vector<Part> parts,
                                                                   SwitchPlan plan) {
    std::vector<std::size_t> targets;
    for (const SwitchRule& rule : plan.rules) {
        const auto part = std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return p.name == rule.to; });
        if (part == parts.end()) {
            return fail(ExitStatus::Usage,
                        fmt::format("{},to={}: there is no engine of that name here", to_text(rule.when), rule.to));
        }
        targets.push_back(static_cast<std::size_t>(part - parts.begin()));
    }
    // Who has the guest while a rule is armed is known beforehand: the first engine, then whom the rule before names.
    std::size_t has_guest = 0;
    for (unsigned round = 0; round < (plan.repeat ? 2u : 1u); ++round) {
        for (std::size_t i = 0; i < targets.size(); ++i) {
            const SwitchRule& rule = plan.rules[i];
            if (const std::string why = why_not_watched(rule.when, *parts[has_guest].engine); !why.empty()) {
                return fail(ExitStatus::EngineUnavailable,
                            fmt::format("{},to={}: the engine '{}', which has the guest then, {}", to_text(rule.when),
                                        rule.to, parts[has_guest].name, why));
            }
            has_guest = targets[i];
        }
    }
    return std::unique_ptr<SwitchingEngine>(
        new SwitchingEngine(machine, std::move(parts), std::move(targets), std::move(plan)));
}

Capabilities SwitchingEngine::capabilities() const {
    Capabilities all{.exact_instruction_counts = true, .dirty_log = true, .virtual_clock = true};
    for (const Part& part : parts_) {
        const Capabilities can = part.engine->capabilities();
        all.exact_instruction_counts &= can.exact_instruction_counts;
        all.dirty_log &= can.dirty_log;
        all.virtual_clock &= can.virtual_clock;
    }
    return all;
}

TriedCapabilities SwitchingEngine::tried_capabilities() const {
    TriedCapabilities all{.single_step = true, .direct_modes_ring0 = ~0u, .direct_modes_ring3 = ~0u};
    for (const Part& part : parts_) {
        const TriedCapabilities can = part.engine->tried_capabilities();
        all.single_step &= can.single_step || part.engine->capabilities().exact_instruction_counts;
        all.direct_modes_ring0 &= can.direct_modes_ring0;
        all.direct_modes_ring3 &= can.direct_modes_ring3;
    }
    return all;
}

u64 SwitchingEngine::instructions() const {
    u64 all = 0;
    for (const Part& part : parts_) all += part.engine->instructions();
    return all;
}

u64 SwitchingEngine::hand_overs() const {
    u64 all = 0;
    for (const Account& account : accounts_) all += account.hand_overs;
    return all;
}

EngineStatistics SwitchingEngine::statistics() const {
    EngineStatistics all;
    for (const Part& part : parts_) {
        const EngineStatistics one = part.engine->statistics();
        for (std::size_t i = 0; i < kExitKinds; ++i) all.exits[i] += one.exits[i];
        all.interrupts_injected += one.interrupts_injected;
        all.exceptions_delivered += one.exceptions_delivered;
        all.pulls += one.pulls;
        all.pushes += one.pushes;
        all.rescues += one.rescues;
        for (const auto& [name, count] : one.named) all.named[name] += count;
    }
    all.named["hand-overs"] = hand_overs();
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const Account& account = accounts_[i];
        all.named["milliseconds under " + parts_[i].name] = account.running / 1'000'000;
        if (account.hand_overs == 0) continue;
        all.named["hand-overs to " + parts_[i].name] = account.hand_overs;
        all.named["microseconds, handed to " + parts_[i].name] = account.taking_over / 1'000;
    }
    return all;
}

// --- the rules ------------------------------------------------------------------------------------------------------

// Whether the armed rule wants a look at the guest behind every instruction.
bool SwitchingEngine::stepping() const {
    if (armed() == nullptr || fired_) return false;
    if (armed()->kind == SwitchCondition::Kind::Instructions) return !exact_;
    return is_state(armed()->kind) && until() == Until::Limits;
}

// Where the engine itself stops no later than the armed rule's condition changes.
Until SwitchingEngine::until() const {
    if (armed() == nullptr || !engine().capabilities().stops_at_modes) return Until::Limits;
    switch (armed()->kind) {
        case SwitchCondition::Kind::Program: return held_ ? Until::Kernel : Until::Program;
        case SwitchCondition::Kind::Kernel: return held_ ? Until::Program : Until::Kernel;
        // A program's CPL is 3. From elsewhere, ring 3 is reached in 32-bit modes too, where nothing would stop.
        case SwitchCondition::Kind::Ring: return in_program_ ? Until::Kernel : Until::Limits;
        default: return Until::Limits;
    }
}

// Whether the condition, one of the guest's state, holds between the instruction that was executed and the next.
bool SwitchingEngine::holds() {
    const SwitchCondition& when = *armed();
    const CpuFile& cpu = machine_.cpu();
    engine().pull(groups_of(when.kind));
    switch (when.kind) {
        case SwitchCondition::Kind::Rip: return cpu.general.rip == when.value;
        case SwitchCondition::Kind::Cr3: return when.value ? cpu.control.cr3 == *when.value : cpu.control.cr3 != cr3_;
        default: break;
    }
    in_program_ = cpu.mode() == CpuMode::Long64 && cpu.cpl() == 3;
    switch (when.kind) {
        case SwitchCondition::Kind::Ring: return cpu.cpl() == when.value;
        case SwitchCondition::Kind::Program: return in_program_;
        default: return !in_program_;
    }
}

void SwitchingEngine::arm() {
    exact_ = engine().capabilities().exact_instruction_counts;
    counted_ = engine().instructions();
    done_ = looked_at_ = 0;
    held_ = false;
    due_ = kNever;
    if (armed() == nullptr) return;
    if (armed()->kind == SwitchCondition::Kind::Time) due_ = later(host_now(), *armed()->value);
    if (!is_state(armed()->kind)) return;
    engine().pull(Groups::Control);
    cr3_ = machine_.cpu().control.cr3;
    held_ = holds() && armed()->kind != SwitchCondition::Kind::Rip;
}

void SwitchingEngine::written_to_port(const Exit& exit) {
    if (exit.kind != ExitKind::PortWrite || armed() == nullptr) return;
    const u64 port = armed()->value.value_or(0);
    const bool is_it = exit.address <= port && port < exit.address + exit.size;
    if (armed()->kind == SwitchCondition::Kind::Port && is_it) fired_ = true;
}

// What the armed rule makes of `done` more instructions, and of the exit behind them.
void SwitchingEngine::look(u64 done, const Exit& exit) {
    if (armed() == nullptr || fired_) return;
    const bool rip = armed()->kind == SwitchCondition::Kind::Rip;
    done_ += done;
    if (armed()->kind == SwitchCondition::Kind::Instructions) fired_ = done_ >= *armed()->value;
    // An access that the machine is yet to handle must not be finished by a pull: its instruction is looked at later.
    if (is_state(armed()->kind) && !is_access(exit.kind) && (!rip || std::exchange(looked_at_, done_) != done_)) {
        const bool held = std::exchange(held_, holds());
        fired_ = held_ && !held;
        if (rip) held_ = false;  // an instruction may come again and again
    }
    written_to_port(exit);
}

// The rule that has fired: its hand-over, then the next one is armed. What is returned ends run().
std::optional<Exit> SwitchingEngine::follow_rule() {
    fired_ = false;
    if (auto instead = hand_over(targets_[next_])) return instead;
    ++next_;
    if (next_ == plan_.rules.size() && plan_.repeat) next_ = 0;
    arm();
    return std::nullopt;
}

std::optional<Exit> SwitchingEngine::hand_over(std::size_t to) {
    if (to == active_) return std::nullopt;
    Engine& from = engine();
    from.finish_access();
    from.pull(Groups::All);
    // What went wrong meanwhile an engine tells when it is to run, even if it is for no instruction at all.
    Exit last = from.run({.instructions = 0});
    if (last.kind == ExitKind::Failure || last.kind == ExitKind::Shutdown) return last;
    if (last.kind == ExitKind::Kicked) parts_[to].engine->kick();  // it was for whoever runs next
    active_ = to;
    engine().push(Groups::All);
    ++accounts_[to].hand_overs;
    access_pending_ = false;
    halted_ = machine_.cpu().events.halted;
    return std::nullopt;
}

// --- running --------------------------------------------------------------------------------------------------------

// An instruction that was stepped and made an access is executed when that is complete.
u64 SwitchingEngine::finish_step() {
    if (!std::exchange(access_pending_, false)) return 0;
    engine().finish_access();
    return exact_ ? counted() : 1;
}

u64 SwitchingEngine::counted() {
    const u64 before = std::exchange(counted_, engine().instructions());
    return counted_ - before;
}

// Instructions that were executed between the last exit and this one. An engine that does not count them is asked only
// while it is stepped.
u64 SwitchingEngine::progress(const Exit& exit) {
    access_pending_ = is_access(exit.kind) && stepping();
    if (exact_) return counted();
    const bool was_halted = std::exchange(halted_, exit.kind == ExitKind::Halt);
    return exit.kind == ExitKind::SingleStep || (exit.kind == ExitKind::Halt && !was_halted) ? 1 : 0;
}

// How far the engine may go before somebody has to look.
Budget SwitchingEngine::part_of(const Budget& budget, u64 left, Nanoseconds deadline, Nanoseconds now) const {
    Budget part{.instructions = left, .clock_time = budget.clock_time, .until = until()};
    if (stepping()) {
        part.instructions = 1;
        if (exact_) return part;  // the host's clock is looked at here
    } else if (armed() != nullptr && armed()->kind == SwitchCondition::Kind::Instructions && !fired_) {
        part.instructions = std::min(left, *armed()->value - done_);
    }
    const Nanoseconds end = std::min(deadline, due_);
    if (end != kNever) part.host_time = end > now ? end - now : 1;
    if (budget.host_time != kNever) part.host_time = std::min(part.host_time, budget.host_time);
    return part;
}

Exit SwitchingEngine::run(const Budget& budget) {
    Stopwatch watch(*this);
    const Nanoseconds deadline = later(watch.now(), budget.host_time);
    const PortWatch ports(*this, armed() != nullptr && has_port_rule(plan_));
    if (!std::exchange(begun_, true)) arm();
    u64 left = budget.instructions;
    const auto used = [&](u64 done) {
        if (left != kUnlimited) left -= std::min(left, done);
    };
    if (const u64 done = finish_step(); done != 0) {
        used(done);
        look(done, {});
    }
    for (u64 turn = 0;; ++turn) {
        if (!stepping() || turn % kStepsBetweenLooks == 0) {
            if (turn != 0 && watch.look() >= deadline) return Exit{.kind = ExitKind::BudgetUsed};
            if (watch.now() >= due_) fired_ = true;
        }
        if (fired_) {
            const std::size_t to = targets_[next_];
            watch.look();
            if (auto instead = follow_rule()) return *std::move(instead);
            watch.add(accounts_[to].taking_over);
        }
        if (left == 0) return Exit{.kind = budget.instructions == 1 ? ExitKind::SingleStep : ExitKind::BudgetUsed};
        if (budget.clock_time_is_over(machine_.clock())) return Exit{.kind = ExitKind::BudgetUsed};
        Exit exit = engine().run(part_of(budget, left, deadline, watch.now()));
        const u64 done = progress(exit);
        used(done);
        look(done, exit);
        if (!is_end_of_part(exit.kind)) return exit;
    }
}

}  // namespace dualvm::study
