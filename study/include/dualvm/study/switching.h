// Switching: several engines on one machine, and a guest that they hand over to each other while it runs.
//
// Being an Engine itself, it runs under the ordinary run loop. One of its engines has the guest; rules, armed one after
// the other, say when it is handed to another. All of CpuFile moves, memory and devices are the machine's and stay.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dualvm/machine.h"

namespace dualvm::study {

// What has to happen, once the rule is armed. All but port writes and time is looked at between two instructions, once
// at least one has been executed; engines take an interrupt together with the first instruction of its handler.
struct SwitchCondition {
    enum class Kind : u8 {
        Instructions,  // `value` instructions have been executed
        Rip,           // the instruction at `value` is next
        Cr3,           // CR3 becomes `value`; without a value, it changes
        Ring,          // CPL becomes `value`
        Program,       // 64-bit code at ring 3 comes next, and did not before (Until::Program)
        Kernel,        // it does no longer (Until::Kernel)
        Port,          // the guest has written to port `value`
        Time,          // `value` nanoseconds of the host's time have passed
    };
    Kind kind = Kind::Instructions;
    std::optional<u64> value{};
    bool operator==(const SwitchCondition&) const = default;
};
std::string to_text(const SwitchCondition& condition);  // "insn:1000", "cr3", "port:0x80", "time:2500us"

struct SwitchRule {
    SwitchCondition when;
    std::string to;  // the name of an engine; if it has the guest already, nothing is handed over
    bool operator==(const SwitchRule&) const = default;
};

// The first rule is armed when the run begins, each of the others when the one before it has fired.
struct SwitchPlan {
    std::vector<SwitchRule> rules;
    bool repeat = false;  // behind the last comes the first again
};

class SwitchingEngine final : public Engine {
public:
    struct Part {
        std::string name;
        std::unique_ptr<Engine> engine;
    };

    // All of `parts` are engines on `machine`; the first begins. Fails, with ExitStatus::EngineUnavailable and what to
    // do about it, if an engine that has the guest while a rule is armed cannot watch for what the rule waits for.
    static Expected<std::unique_ptr<SwitchingEngine>> create(Machine& machine, std::vector<Part> parts,
                                                             SwitchPlan plan);

    // Which of the parts has the guest, and how often it was handed over.
    std::size_t active() const { return active_; }
    u64 hand_overs() const;

    const char* name() const override { return engine().name(); }
    // What all parts can do. Budget::until is for the rules.
    Capabilities capabilities() const override;
    TriedCapabilities tried_capabilities() const override;
    Exit run(const Budget& budget) override;
    // Every part hears of it: which of them will have the guest when the kick is answered, nobody knows. Those that
    // have it later may come back once for nothing.
    void kick() override {
        for (const Part& part : parts_) part.engine->kick();
    }
    void pull(Groups groups) override { engine().pull(groups); }
    void push(Groups groups) override { engine().push(groups); }
    void finish_access() override { engine().finish_access(); }
    u64 instructions() const override;
    void collect_dirty() override {
        for (const Part& part : parts_) part.engine->collect_dirty();
    }
    // The sum of all parts'; named ones tell of the hand-overs, and of the host's time that each part has had.
    EngineStatistics statistics() const override;

private:
    SwitchingEngine(Machine& machine, std::vector<Part> parts, std::vector<std::size_t> targets, SwitchPlan plan);

    struct Account {
        u64 hand_overs = 0;  // to this part
        Nanoseconds running = 0, taking_over = 0;
    };
    class PortWatch;
    class Stopwatch;

    Engine& engine() const { return *parts_[active_].engine; }
    const SwitchCondition* armed() const { return next_ < plan_.rules.size() ? &plan_.rules[next_].when : nullptr; }
    bool stepping() const;
    Until until() const;
    void arm();
    bool holds();
    void fire();
    std::optional<Exit> follow_rule();
    std::optional<Exit> hand_over(std::size_t to);
    Budget part_of(const Budget& budget, u64 left, Nanoseconds deadline, Nanoseconds now) const;
    u64 finish_step();
    u64 counted();
    u64 progress(const Exit& exit);
    void look(u64 done, const Exit& exit);
    void written_to_port(const Exit& exit);

    Machine& machine_;
    std::vector<Part> parts_;
    std::vector<Account> accounts_;     // of each part
    std::vector<std::size_t> targets_;  // of each rule, as an index into parts_
    SwitchPlan plan_;
    std::size_t active_ = 0;

    std::size_t next_ = 0;  // the rule that is armed; behind the last: none is
    bool begun_ = false;
    bool fired_ = false;           // it has, and its hand-over is the next thing to do
    bool exact_ = false;           // the active part counts its instructions
    u64 counted_ = 0;              // what its count was when it was looked at last
    u64 done_ = 0;                 // instructions since the rule was armed, as far as they are counted
    u64 looked_at_ = 0;            // what that was when the guest's state was looked at last
    bool held_ = false;            // its condition held when it was looked at last: it does not become true now
    bool in_program_ = false;      // 64-bit code at ring 3 is next
    u64 cr3_ = 0;                  // when the rule was armed
    Nanoseconds due_ = kNever;     // when a rule that waits for time fires
    bool access_pending_ = false;  // the stepped instruction's port or MMIO access has been handed to the machine
    bool halted_ = false;          // the last exit was a HLT's
};

}  // namespace dualvm::study
