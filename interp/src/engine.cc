// The interpreting engine: fetches blocks, runs their handlers, delivers faults and interrupts, keeps the count.
#include <Zydis/Zydis.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "block_cache.h"
#include "breakpoints.h"
#include "dualvm/interp/interpreter.h"
#include "fast/handler.h"
#include "fast/mxcsr.h"
#include "host_unit.h"
#include "memory.h"
#include "reference_call.h"
#include "system.h"
#include "translate.h"

namespace dualvm {

using namespace interp;

namespace {

Nanoseconds host_now() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<Nanoseconds>(t.tv_sec) * 1'000'000'000 + static_cast<Nanoseconds>(t.tv_nsec);
}

// Instructions behind which the single-step trap that they began with is not taken: those that clear TF on the way into
// a handler of the guest's (SYSENTER does not: SDM vol. 3B, 17.3.1.4), and those that have their own trap
// (fast_call.cc).
bool drops_single_step(const Insn& insn) {
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_INT:
        case ZYDIS_MNEMONIC_INT1:
        case ZYDIS_MNEMONIC_INT3:
        case ZYDIS_MNEMONIC_INTO:
        case ZYDIS_MNEMONIC_SYSCALL:
        case ZYDIS_MNEMONIC_SYSRET: return true;
        default: return false;
    }
}

void copy_groups(CpuFile& to, const CpuFile& from, Groups groups) {
    if (any(groups & Groups::General)) to.general = from.general;
    if (any(groups & Groups::Segments)) to.segments = from.segments;
    if (any(groups & Groups::Control)) to.control = from.control;
    if (any(groups & Groups::Debug)) to.debug = from.debug;
    if (any(groups & Groups::Msrs)) to.msrs = from.msrs;
    if (any(groups & Groups::Fpu)) to.fpu = from.fpu;
    if (any(groups & Groups::Events)) to.events = from.events;
}

class Interpreter final : public Engine {
public:
    Interpreter(Machine& machine, const InterpreterOptions& options)
        : machine_(machine), state_(std::make_unique<State>()) {
        state_->machine = &machine;
        state_->use = all_optimisations_but(options.without);
        state_->tsc_is_hosts = options.host_tsc;
        blocks_ = std::make_unique<BlockCache>(*state_, options.block_cache_bytes);
        state_->blocks = blocks_.get();
        write_observer_ = machine.vmem().add_write_observer(
            [this](u64 address, u64 size) { blocks_->written(*state_, address, size); });
        push(Groups::All);
    }
    ~Interpreter() override { machine_.vmem().remove_write_observer(write_observer_); }

    const char* name() const override { return "interp"; }

    Capabilities capabilities() const override {
        return {.exact_instruction_counts = true, .dirty_log = true, .virtual_clock = true, .stops_at_modes = true};
    }
    TriedCapabilities tried_capabilities() const override { return {.single_step = true}; }

    Exit run(const Budget& budget) override;

    void kick() override { kicked_.store(true, std::memory_order_relaxed); }

    void pull(Groups groups) override {
        count_event(state_->statistics.pulls);
        copy_groups(machine_.cpu(), state_->cpu, groups);
        if (any(groups & Groups::Msrs)) machine_.cpu().msrs.tsc = read_tsc(*state_);
        if (any(groups & Groups::Control))
            machine_.cpu().control.cr8 = machine_.cr8().value_or(state_->cpu.control.cr8);
        if (any(groups & Groups::Fpu)) store_fx_image(state_->fx, machine_.cpu().fpu);
    }

    void push(Groups groups) override {
        count_event(state_->statistics.pushes);
        // Another engine may have run since: its instructions are on the clock.
        if (const VirtualClock* clock = machine_.virtual_clock()) {
            state_->instructions_of_others = clock->instructions() - state_->instructions_before_slice;
        }
        copy_groups(state_->cpu, machine_.cpu(), groups);
        // A TPR of that class may have lower bits, which a write to CR8 clears (SDM vol. 3A, 10.8.6.1).
        const bool has_control = any(groups & Groups::Control);
        if (has_control && machine_.cr8() != state_->cpu.control.cr8) machine_.cr8_changed(state_->cpu.control.cr8);
        if (any(groups & Groups::Msrs)) machine_.apic_base_changed(state_->cpu.msrs.apic_base);
        if (any(groups & Groups::Msrs)) push_tsc(machine_.cpu().msrs.tsc);
        if (any(groups & Groups::Fpu)) load_fx_image(state_->fx, state_->cpu.fpu);
        if (any(groups & Groups::Events)) {
            shutdown_ = false;  // as a RESET ends it
            // Held behind MOV SS alone: an NMI that is pushed there leaves them be.
            if (!state_->cpu.events.interrupt_shadow_mov_ss) state_->held_data_hits = 0;
        }
        if (any(groups & Groups::Control)) {
            // Another engine may have run since: what it wrote to memory, nobody saw.
            flush_tlb(*state_);
            blocks_->forget_all(*state_);
        }
        blocks_->refresh_mode(*state_);
    }

    u64 instructions() const override { return state_->instructions_before_slice; }

    EngineStatistics statistics() const override {
        EngineStatistics statistics = state_->statistics;
        blocks_->add_statistics(statistics.named);
        return statistics;
    }

private:
    // Guest code runs in slices no longer than this, so that kick() is heard within about a millisecond; of
    // instructions that are long, a slice holds fewer (State::work_left).
    static constexpr i64 kSliceInstructions = 100'000;
    static constexpr i64 kSliceWork = 32'768;

    Exit counted(ExitKind kind) {
        count_event(state_->statistics.exits[static_cast<std::size_t>(kind)]);
        Exit exit;
        exit.kind = kind;
        return exit;
    }

    bool shadowed() const {
        return state_->cpu.events.interrupt_shadow_sti || state_->cpu.events.interrupt_shadow_mov_ss;
    }
    bool interruptible() const { return (state_->cpu.general.rflags & rflags::IF) != 0 && !shadowed(); }
    bool debugged() const {
        return (state_->cpu.general.rflags & rflags::TF) != 0 || breakpoints_enabled(state_->cpu.debug);
    }
    void push_tsc(u64 value);
    bool between_instructions() const;
    void deliver_pending_event();
    bool deliver_pending_events();
    void fault_at(u64 rip);
    void trap(u64 causes);
    bool at_stop() const {
        if (!kInstrumented || until_ == Until::Limits) return false;
        return (state_->user && state_->code64()) == (until_ == Until::Program);
    }
    void run_slice();
    void run_chain(Block* block);
    void step();
    void link(const Op* op, bool taken, Block* to);
    void notice_outside_changes();

    Machine& machine_;
    std::unique_ptr<State> state_;
    std::unique_ptr<BlockCache> blocks_;
    u64 write_observer_ = 0;
    bool shutdown_ = false;  // triple fault
    Until until_ = Until::Limits;
    std::atomic<bool> kicked_{false};
    u64 seen_map_generation_ = 0, seen_dirty_generation_ = 0;
};

// The host's counter is not set by a RESET. But where the guest has moved it on while another engine had it, it goes on
// from there: a guest may rely on it that time never goes backwards.
void Interpreter::push_tsc(u64 value) {
    if (!state_->tsc_is_hosts || value > read_tsc(*state_)) write_tsc(*state_, value);
}

// Devices and the run loop may have moved the A20 gate or forgotten the dirty marks.
void Interpreter::notice_outside_changes() {
    const VMem& vmem = machine_.vmem();
    if (vmem.map_generation() != seen_map_generation_) {
        seen_map_generation_ = vmem.map_generation();
        flush_tlb(*state_);
        blocks_->forget_all(*state_);
    }
    if (vmem.dirty_generation() != seen_dirty_generation_) {
        seen_dirty_generation_ = vmem.dirty_generation();
        flush_tlb(*state_);  // so that first writes are seen again
    }
}

void Interpreter::fault_at(u64 rip) {
    // With CR0.NE clear an x87 error goes out of the CPU, and the instruction that met it waits for an interrupt: it is
    // tried again until one comes (SDM vol. 1, 8.7.2). Where nobody would send one it is an exception all the same.
    if (state_->fault.vector == MF && (state_->cpu.control.cr0 & cr0::NE) == 0 && machine_.report_fpu_error()) {
        state_->cpu.general.rip = rip;
        return;
    }
    shutdown_ = !deliver_fault(*state_, rip);
    if (shutdown_) state_->cpu.general.rip = rip;  // where it happened
    count_event(state_->statistics.exceptions_delivered);
    blocks_->refresh_mode(*state_);
}

// Takes what waits between two instructions: an exception that came with the state, an NMI, an interrupt.
void Interpreter::deliver_pending_event() {
    State& s = *state_;
    EventGroup& e = s.cpu.events;
    Event event;
    event.return_rip = s.cpu.general.rip;
    if (e.exception_pending) {
        e.exception_pending = false;
        // Nothing stays behind in CpuFile of what has been delivered.
        s.fault = {.vector = std::exchange(e.exception_vector, u8{0}),
                   .has_error_code = std::exchange(e.exception_has_error_code, false),
                   .error_code = std::exchange(e.exception_error_code, 0)};
        fault_at(event.return_rip);
        return;
    }
    if (e.nmi_pending && !e.nmi_masked && !e.interrupt_shadow_mov_ss) {
        e.nmi_pending = false;
        event.kind = EventKind::Nmi;
        event.vector = NMI;
    } else if (e.interrupt_accepted) {
        e.interrupt_accepted = false;
        event.kind = EventKind::External;
        event.vector = std::exchange(e.interrupt_vector, u8{0});
    } else if (interruptible() && machine_.interrupt_pending()) {
        event.kind = EventKind::External;
        event.vector = machine_.acknowledge_interrupt();
        count_event(s.statistics.interrupts_injected);
    } else {
        return;
    }
    e.halted = false;
    if (!deliver_event(s, event)) {
        fault_at(event.return_rip);
    } else {
        blocks_->refresh_mode(s);
    }
}

// Delivers until nothing waits: a task switch may have left an exception of the new task. False: there is always
// another, as a guest may see to with faults that cannot be delivered and tasks that fault at once.
bool Interpreter::deliver_pending_events() {
    constexpr int kAtOnce = 16;
    for (int i = 0; i < kAtOnce; ++i) {
        deliver_pending_event();
        if (!state_->cpu.events.exception_pending || shutdown_) return true;
    }
    return false;
}

// Something is to be done before the next instruction that a chain of handlers does not look at.
bool Interpreter::between_instructions() const {
    const EventGroup& e = state_->cpu.events;
    const bool resumed = (state_->cpu.general.rflags & rflags::RF) != 0;
    return state_->io_done || state_->work_left <= 0 || shutdown_ || e.halted || shadowed() || debugged() || resumed ||
           e.exception_pending || e.interrupt_accepted || e.nmi_pending ||
           (interruptible() && machine_.interrupt_pending());
}

Exit Interpreter::run(const Budget& budget) {
    State& s = *state_;
    const Nanoseconds end = budget.host_time == kNever ? kNever : host_now() + budget.host_time;
    const VirtualClock* clock = machine_.virtual_clock();
    u64 left = budget.instructions;
    until_ = budget.until;
    bool begun = false;
    notice_outside_changes();
    while (true) {
        if (shutdown_) return counted(ExitKind::Shutdown);
        if (kicked_.exchange(false, std::memory_order_relaxed)) return counted(ExitKind::Kicked);
        if (machine_.attention()) return counted(ExitKind::Attention);
        if (left == 0) return counted(budget.instructions == 1 ? ExitKind::SingleStep : ExitKind::BudgetUsed);
        const u64 on_the_way = clock == nullptr ? kUnlimited : clock->instructions_to(budget.clock_time);
        if (on_the_way == 0) return counted(ExitKind::BudgetUsed);
        const bool delivered = deliver_pending_events();
        if (shutdown_) return counted(ExitKind::Shutdown);
        if (delivered && s.cpu.events.halted) return counted(ExitKind::Halt);
        const bool stop = at_stop();
        if (stop && begun) return counted(until_ == Until::Program ? ExitKind::UserMode : ExitKind::KernelMode);
        begun = true;

        // The instruction behind STI or MOV SS runs before any interrupt; a debugger in the guest looks at every one.
        // So does RF, which may have come along in CpuFile: it lives for one instruction, not for a block.
        const bool resumed = (s.cpu.general.rflags & rflags::RF) != 0;
        const bool single = !delivered || shadowed() || debugged() || resumed || stop;
        s.slice = s.ticks = single ? 1 : static_cast<i64>(std::min({left, on_the_way, u64{kSliceInstructions}}));
        s.work_left = kSliceWork;
        if (!delivered) {
            s.ticks = 0;  // it took its time, and whoever drives the engine is to be heard
        } else if (single) {
            step();
        } else {
            run_slice();
        }
        const auto done = static_cast<u64>(s.slice - s.ticks);
        s.instructions_before_slice += done;
        s.slice = s.ticks = 0;
        if (left != kUnlimited) left -= done;
        synchronize_clock(s);
        if (s.io_done) {
            s.io_done = false;
            notice_outside_changes();
        }
        if (end != kNever && host_now() >= end && left != 0) return counted(ExitKind::BudgetUsed);
    }
}

// Uses up the slice: chains of handlers as long as whole blocks fit, then one by one.
void Interpreter::run_slice() {
    State& s = *state_;
    const Op* linking = nullptr;  // the branch that led here and wants a link
    u32 linking_generation = 0;   // another one: the cache was emptied since, and the branch with it
    bool taken = false;
    while (s.ticks > 0 && s.work_left > 0) {
        Block* block = blocks_->find(s);
        if (block == nullptr || block->count > s.ticks) {
            step();
            linking = nullptr;
            if (between_instructions() || at_stop()) return;
            continue;
        }
        if (linking != nullptr && linking_generation == s.map_generation) link(linking, taken, block);
        linking = nullptr;
        run_chain(block);
        s.code_written = false;
        switch (s.leave_reason) {
            case Leave::Link:
                if (s.use.links) linking = s.op;
                linking_generation = s.map_generation;
                taken = s.link_taken;
                break;
            case Leave::Budget: break;
            case Leave::Lookup:
                blocks_->refresh_mode(s);
                if (between_instructions() || at_stop()) return;
                break;
            // What comes between two iterations finds RF set (SDM vol. 3B, 17.3.1.1).
            case Leave::Again: s.cpu.general.rflags |= rflags::RF; return;
            case Leave::Fault:
                fault_at(rip_of(s.op));
                if (between_instructions() || at_stop()) return;
                break;
            case Leave::Halt: s.cpu.events.halted = true; return;
        }
    }
}

void Interpreter::run_chain(Block* block) {
    State* s = state_.get();
    s->in_chain = true;
    const Op* op = block->ops();
    const i64 ticks = s->ticks - block->count;
    const u32 flags = pack_flags(s->cpu.general.rflags);
#if DUALVM_THREADED
    op->run(s, op, ticks, flags, s->cpu.general.gpr[RSP]);
#else
    s->ticks = ticks;
    s->flags = flags;
    for (s->next_op = op; s->next_op != nullptr;) {
        s->next_op->run(s, s->next_op, s->ticks, s->flags, s->cpu.general.gpr[RSP]);
    }
#endif
    s->in_chain = false;
    if (s->mxcsr_in_host) fast::give_back(*s);
    s->cpu.general.rflags = merge_flags(s->cpu.general.rflags, s->flags);
}

// From now on the branch at `op` finds `to` by itself.
void Interpreter::link(const Op* op, bool taken, Block* to) {
    if (to->looked_at_each_time()) return;
    // A link within a page is followed without a check, and so must not lead to other memory: of a translation that the
    // guest has changed and not invalidated yet (SDM vol. 3A, 4.10.4) one block may have the old and one the new.
    const Block* from = block_of(op);
    const u64 code_base = state_->cpu.code_base();
    const bool same_linear_page = ((code_base + from->rip) ^ (code_base + to->rip)) / kPageSize == 0;
    if (same_linear_page && (from->physical ^ to->physical) / kPageSize != 0) return;
    Op* branch = const_cast<Op*>(op);
    // Two links to other pages share one generation: one that was made under another map goes, or it would hold again.
    if (branch->link_generation != state_->map_generation && has_two_far_links(*op, code_base)) {
        (taken ? branch->fall : branch->taken) = nullptr;
    }
    branch->link_generation = state_->map_generation;
    (taken ? branch->taken : branch->fall) = to;
}

// One instruction, by its reference implementation.
void Interpreter::step() {
    State& s = *state_;
    const u64 rip = s.cpu.general.rip;
    const bool stepping = (s.cpu.general.rflags & rflags::TF) != 0;
    EventGroup& e = s.cpu.events;
    // Behind a load of SS instruction breakpoints do not count, and data breakpoints that it hit wait for one
    // instruction more: the stack is not whole before (SDM vol. 3A, 6.8.3).
    const bool behind_ss = e.interrupt_shadow_mov_ss;
    const u64 held = std::exchange(s.held_data_hits, 0);
    e.interrupt_shadow_sti = e.interrupt_shadow_mov_ss = false;
    const bool resumed = (s.cpu.general.rflags & rflags::RF) != 0;
    if (!resumed && !behind_ss && hits_instruction_breakpoint(s)) {
        --s.ticks;
        fault_at(rip);
        return;
    }
    // It lives for one instruction, and goes before that is executed: INT n does not save it, and what IRET loads is
    // for the instruction behind (SDM vol. 3B, 17.3.1.1).
    s.cpu.general.rflags &= ~rflags::RF;
    watch_data(s);
    Flow flow = Flow::Fault;
    const Block* block = blocks_->find_instruction(s);
    if (block != nullptr) flow = run_reference(s, block->insns[0], rip);
    --s.ticks;
    s.code_written = false;
    switch (flow) {
        case Flow::Next: break;
        case Flow::Again:
            s.cpu.general.rip = rip;
            s.cpu.general.rflags |= rflags::RF;  // for what comes between two iterations (SDM vol. 3B, 17.3.1.1)
            break;
        case Flow::Fault:
            fault_at(rip);
            if (held != 0 && !shutdown_) trap(held);  // at the first instruction of the fault's handler
            return;
        case Flow::Halt: e.halted = true; break;
        case Flow::Jump: blocks_->refresh_mode(s); break;
    }
    // Traps come behind the instruction; loading SS holds them back for one more (SDM vol. 3B, 17.3.1.2, 17.3.1.4).
    u64 causes = s.watched_data_hits | held;
    if (stepping && !(flow == Flow::Jump && drops_single_step(block->insns[0]))) causes |= kDr6SingleStep;
    if (e.interrupt_shadow_mov_ss) {
        s.held_data_hits = causes & ~kDr6SingleStep;
    } else if (causes != 0) {
        trap(causes);
    }
}

// #DB behind an instruction: one for all of its causes, that of SYSCALL and SYSRET themselves, too (fast_call.cc).
void Interpreter::trap(u64 causes) {
    state_->cpu.debug.dr6 |= causes;
    EventGroup& e = state_->cpu.events;
    if (e.exception_pending && e.exception_vector == DB) {
        e.exception_pending = false;
        e.exception_vector = 0;  // nothing stays behind in CpuFile of what is delivered
    }
    state_->raise(DB);
    fault_at(state_->cpu.general.rip);
}

}  // namespace

std::unique_ptr<Engine> make_interpreter(Machine& machine, const InterpreterOptions& options) {
    return std::make_unique<Interpreter>(machine, options);
}

}  // namespace dualvm
