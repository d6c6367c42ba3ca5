#include "run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "dualvm/interp/interpreter.h"
#include "dualvm/study/guest_view.h"

namespace dualvm::app {

namespace {

// The instruction that RIP is at; what the engine said of its bytes goes before what memory holds.
std::string instruction_text(const RunResult& result, Guest& guest, study::Syntax syntax) {
    const CpuFile& cpu = guest.machine->cpu();
    study::CodeBytes code = study::code_at_rip(cpu, guest.machine->vmem());
    u64 rip = cpu.general.rip;
    if (result.last_exit.byte_count != 0) {
        code.bytes = result.last_exit.bytes;
        code.count = result.last_exit.byte_count;
        rip = result.last_exit.rip;
    }
    if (code.count == 0) return fmt::format("{:>8x}  (not readable)\n", rip);
    return to_text(study::Disassembler(syntax).line(cpu.mode(), rip, code.span())) + '\n';
}

double million_per_second(u64 instructions, double seconds) {
    return seconds > 0 ? static_cast<double>(instructions) / seconds / 1e6 : 0;
}

}  // namespace

void report_end(const RunResult& result, Guest& guest, study::Syntax syntax, const Messages& messages) {
    if (result.status % 2 != 0) return;  // the guest's own word
    switch (static_cast<ExitStatus>(result.status)) {
        case ExitStatus::Clean: break;
        case ExitStatus::TripleFault:
        case ExitStatus::EngineFailure:
            messages.error(result.text);
            messages.plain(instruction_text(result, guest, syntax));
            messages.plain(to_text(guest.machine->cpu()));
            break;
        case ExitStatus::Limit: messages.note(result.text); break;
        default: messages.error(result.text);
    }
}

std::string statistics_text(const RunResult& result, Guest& guest) {
    std::string text;
    auto to = std::back_inserter(text);
    const auto count = [&](std::string_view name, u64 value) { fmt::format_to(to, "  {:<28} {:>14}\n", name, value); };
    const EngineStatistics statistics = guest.engine->statistics();
    fmt::format_to(to, "engine {}: {} (status {})\n", guest.engine->name(), result.reason, result.status);
    if (result.instructions) {
        count("instructions", *result.instructions);
    } else {
        fmt::format_to(to, "  {:<28} {:>14}\n", "instructions", "not counted");
    }
    fmt::format_to(to, "  {:<28} {:>14.6f}\n", "seconds", result.seconds);
    if (result.instructions) {
        fmt::format_to(to, "  {:<28} {:>14.1f}\n", "MIPS", million_per_second(*result.instructions, result.seconds));
    }
    text += "exits\n";
    for (std::size_t kind = 0; kind < kExitKinds; ++kind) {
        if (statistics.exits[kind] != 0) count(to_string(static_cast<ExitKind>(kind)), statistics.exits[kind]);
    }
    text += "engine\n";
    count("interrupts injected", statistics.interrupts_injected);
    count("exceptions delivered", statistics.exceptions_delivered);
    count("state pulls", statistics.pulls);
    count("state pushes", statistics.pushes);
    count("rescues", statistics.rescues);
    count("dirty pages", guest.machine->vmem().dirty_pages());
    for (const auto& [name, value] : statistics.named) count(name, value);
    return text;
}

Json run_json(const RunResult& result, Guest& guest, const EngineChoice& choice, const Options& options) {
    const EngineStatistics statistics = guest.engine->statistics();
    const CpuFile& cpu = guest.machine->cpu();
    const auto hex = [](u64 value) { return fmt::format("{:#x}", value); };
    Json json = {{"engine", guest.engine->name()},
                 {"engine_chosen_because", nullptr},
                 {"status", result.status},
                 {"reason", result.reason},
                 {"text", result.text},
                 {"instructions", nullptr},
                 {"seconds", result.seconds},
                 {"mips", nullptr},
                 {"exits", exits_json(statistics)},
                 {"statistics", statistics_json(statistics)},
                 {"dirty_pages", guest.machine->vmem().dirty_pages()},
                 {"clock", choice.clock == ClockKind::Virtual ? "virtual" : "host"},
                 {"guest", guest_json(options.guest)}};
    if (!choice.why.empty()) json["engine_chosen_because"] = choice.why;
    if (result.instructions) {
        json["instructions"] = *result.instructions;
        json["mips"] = million_per_second(*result.instructions, result.seconds);
    }
    if (choice.engine == EngineName::Interp) {
        Json optimisations = Json::object();  // by name, whether they were in use
        for (const InterpreterOptimisation& each : interpreter_optimisations()) {
            const std::vector<std::string>& without = options.engine.without;
            optimisations[each.name] = std::find(without.begin(), without.end(), each.name) == without.end();
        }
        json["optimisations"] = optimisations;
    }
    json["guest"]["protocol"] = boot::to_string(guest.boot.protocol);
    json["guest"]["entry"] = hex(guest.boot.entry);
    json["cpu"] = {{"rip", hex(cpu.general.rip)},
                   {"rflags", hex(cpu.general.rflags)},
                   {"mode", to_string(cpu.mode())},
                   {"cpl", cpu.cpl()},
                   {"text", to_text(cpu)}};
    json["host"] = host_json();
    return json;
}

}  // namespace dualvm::app
