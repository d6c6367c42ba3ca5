#include "dualvm/study/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "dualvm/study/guest_view.h"

namespace dualvm::study {

namespace {

// What a reader of a trace follows; events in flight are the engine's business.
constexpr Groups kShown = Groups::All & ~Groups::Events;

bool is_access(ExitKind kind) {
    return kind == ExitKind::PortRead || kind == ExitKind::PortWrite || kind == ExitKind::MmioRead ||
           kind == ExitKind::MmioWrite;
}

std::string flag_letters(u64 flags) {
    constexpr std::pair<u64, const char*> kNames[] = {{rflags::CF, "CF"}, {rflags::PF, "PF"}, {rflags::AF, "AF"},
                                                      {rflags::ZF, "ZF"}, {rflags::SF, "SF"}, {rflags::TF, "TF"},
                                                      {rflags::IF, "IF"}, {rflags::DF, "DF"}, {rflags::OF, "OF"}};
    std::string text;
    for (const auto& [bit, name] : kNames) {
        if (flags & bit) text += (text.empty() ? "" : " ") + std::string(name);
    }
    return text;
}

}  // namespace

TracingEngine::TracingEngine(Machine& machine, Engine& engine, const TraceOptions& options,
                             std::function<void(std::string_view)> print)
    : machine_(machine),
      engine_(engine),
      options_(options),
      print_(std::move(print)),
      disassembler_(options.syntax),
      tap_(machine, [this](u8 vector) { vector_ = vector; }) {}

Exit TracingEngine::run(const Budget& budget) {
    if (options_.skip > instructions()) return skip(budget);
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end = budget.host_time == kNever
                                      ? Clock::time_point::max()
                                      : Clock::now() + std::chrono::nanoseconds(budget.host_time);
    u64 left = budget.instructions;
    while (left > 0 && !done() && !budget.clock_time_is_over(machine_.clock()) && Clock::now() < end) {
        if (access_pending_) {
            access_pending_ = false;
            engine_.finish_access();
            after_step();
            --left;
            continue;
        }
        before_step();
        const u64 instructions_before = engine_.instructions();
        Exit exit = engine_.run({.instructions = 1, .host_time = budget.host_time});
        if (exit.kind == ExitKind::SingleStep) {
            after_step();
            --left;
            continue;
        }
        if (is_access(exit.kind)) {
            access_pending_ = true;
        } else if (engine_.instructions() != instructions_before) {
            after_step();  // HLT, or the instruction whose fault could not be delivered
        }
        return exit;
    }
    Exit exit;
    exit.kind = done() ? ExitKind::Breakpoint : ExitKind::BudgetUsed;
    exit.rip = machine_.cpu().general.rip;
    return exit;
}

Exit TracingEngine::skip(const Budget& budget) {
    Budget shorter = budget;
    shorter.instructions = std::min(budget.instructions, options_.skip - instructions());
    vector_.reset();
    Exit exit = engine_.run(shorter);
    // A budget of one is "single step" to the engine; to the run loop this is a slice that is over.
    if (exit.kind == ExitKind::SingleStep) exit.kind = ExitKind::BudgetUsed;
    return exit;
}

bool TracingEngine::begun() {
    if (!begun_) begun_ = !options_.from_rip || before_.general.rip == *options_.from_rip;
    return begun_;
}

void TracingEngine::before_step() {
    engine_.pull(Groups::All);
    before_ = machine_.cpu();
    vector_.reset();
}

void TracingEngine::after_step() {
    engine_.pull(Groups::All);
    if (vector_) entered_handler();
    if (begun()) print_instruction(before_);
}

// An interrupt was taken: the instruction that was executed is the first one of its handler.
void TracingEngine::entered_handler() {
    const auto handler = handler_of(before_, machine_.vmem(), *vector_);
    if (begun()) {
        print_(fmt::format("-- interrupt {:#x} before {:x}, handler at {}", *vector_, before_.general.rip,
                           handler ? fmt::format("{:x}", *handler) : "an unreadable address"));
    }
    if (!handler) return;
    const CpuFile& after = machine_.cpu();
    before_.general.rip = *handler;
    // The handler may be of another code size and privilege; its first instruction seldom changes them again.
    before_.segments = after.segments;
    before_.control = after.control;
    before_.general.rflags &= ~(rflags::IF | rflags::TF | rflags::VM);
}

void TracingEngine::print_instruction(const CpuFile& at) {
    ++printed_;
    const CodeBytes code = code_at_rip(at, machine_.vmem());
    std::string text;
    if (code.count == 0) {
        text = fmt::format("{:>8x}  {:<30} (not readable)", at.general.rip, "");
    } else {
        text = to_text(disassembler_.line(at.mode(), at.general.rip, code.span()));
    }
    if (options_.registers) {
        if (const std::string changed = changes(); !changed.empty()) text = fmt::format("{:<78} ; {}", text, changed);
    }
    print_(text);
}

// "rax=5 rflags=246 (PF ZF IF)": what the instruction left behind, from CpuFile's own list of differences.
std::string TracingEngine::changes() const {
    const std::string list = differences(before_, machine_.cpu(), kShown);
    std::string text;
    for (std::size_t at = 0; at < list.size();) {
        const std::size_t end = std::min(list.find('\n', at), list.size());
        const std::string_view line = std::string_view(list).substr(at, end - at);
        at = end + 1;
        const std::size_t colon = line.find(": "), arrow = line.find(" <> ");
        if (colon == std::string_view::npos || arrow == std::string_view::npos) continue;
        const std::string_view name = line.substr(0, colon);
        if (name == "rip") continue;
        if (!text.empty()) text += ' ';
        text += fmt::format("{}={}", name, line.substr(arrow + 4));
        if (name == "rflags") text += fmt::format(" ({})", flag_letters(machine_.cpu().general.rflags));
    }
    return text;
}

}  // namespace dualvm::study
