// Tracing: an engine that steps the engine it is wrapped around, and tells of each instruction.
//
// Being an Engine itself, it runs under the ordinary run loop: interrupts, timers, device accesses and ends are as in
// any run.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "dualvm/machine.h"
#include "dualvm/study/disassembler.h"
#include "dualvm/study/interrupt_tap.h"

namespace dualvm::study {

struct TraceOptions {
    u64 skip = 0;                   // instructions to run before the trace begins (engines that can count them)
    std::optional<u64> from_rip{};  // after those: begin where RIP has this value
    u64 count = 1000;               // instructions to print
    Syntax syntax = Syntax::Intel;
    bool registers = true;  // print the registers that each instruction changed
};

class TracingEngine final : public Engine {
public:
    // `print` is given one line at a time, without its newline. `engine` must be able to single-step.
    TracingEngine(Machine& machine, Engine& engine, const TraceOptions& options,
                  std::function<void(std::string_view)> print);

    // All that was asked for has been printed; the machine's run ends with ExitKind::Breakpoint.
    bool done() const { return printed_ == options_.count; }
    u64 printed() const { return printed_; }

    const char* name() const override { return engine_.name(); }
    Capabilities capabilities() const override { return engine_.capabilities(); }
    TriedCapabilities tried_capabilities() const override { return engine_.tried_capabilities(); }
    Exit run(const Budget& budget) override;
    void kick() override { engine_.kick(); }
    void pull(Groups groups) override { engine_.pull(groups); }
    void push(Groups groups) override { engine_.push(groups); }
    void finish_access() override { engine_.finish_access(); }
    u64 instructions() const override { return engine_.instructions(); }
    void collect_dirty() override { engine_.collect_dirty(); }
    EngineStatistics statistics() const override { return engine_.statistics(); }

private:
    Exit skip(const Budget& budget);
    bool begun();
    void before_step();
    void after_step();
    void entered_handler();
    void print_instruction(const CpuFile& at);
    std::string changes() const;

    Machine& machine_;
    Engine& engine_;
    TraceOptions options_;
    std::function<void(std::string_view)> print_;
    Disassembler disassembler_;
    InterruptTap tap_;

    bool begun_ = false;
    u64 printed_ = 0;
    CpuFile before_;               // the state the instruction being stepped began with
    bool access_pending_ = false;  // its port or MMIO access has been handed to the machine
    std::optional<u8> vector_;     // an interrupt was taken before it
};

}  // namespace dualvm::study
