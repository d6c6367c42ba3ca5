// dualvm trace: a guest, instruction by instruction.
#include <fmt/format.h>
#include <unistd.h>

#include "commands.h"
#include "console.h"
#include "dualvm/study/trace.h"
#include "firmware_watch.h"
#include "guest.h"
#include "interruption.h"
#include "run_report.h"
#include "text_output.h"

namespace dualvm::app {

namespace {

int report(const RunResult& result, const study::TracingEngine& tracer, Guest& guest, const Options& options,
           const Messages& messages) {
    if (tracer.done()) return static_cast<int>(ExitStatus::Clean);
    report_end(result, guest, options.syntax, messages);
    if (tracer.printed() == 0) messages.note("the guest's run ended before the trace began");
    return result.status;
}

}  // namespace

int trace_command(const Options& options, const Messages& messages) {
    auto out = TextOutput::open(options.output_path);
    if (!out) return report_error(out.error(), messages);

    // Guest and trace must not mix: the serial port is standard error here. It has no input.
    Console console(STDERR_FILENO, std::nullopt, /*input=*/false);
    const EngineChoice choice = choose_engine(options);
    GuestOutputs outputs;
    outputs.serial = [&](u8 byte) { console.output(byte); };
    outputs.debug_console = [&](u8 byte) { console.debug_output(byte); };
    FirmwareWatch firmware;
    outputs.firmware = [&](u8 byte) {
        if (firmware.take(byte)) interrupt_run();
    };
    auto guest = make_guest(options, choice.engine, choice.clock, outputs);
    if (!guest) return report_error(with_way_out(guest.error(), options.engine), messages);
    if (!choice.why.empty()) messages.note(fmt::format("engine {}: {}", to_string(choice.engine), choice.why));
    console.connect(*guest->pc);
    if (!guest->engine->tried_capabilities().single_step) {
        return report_error({ExitStatus::EngineUnavailable,
                             fmt::format("the engine {} cannot single-step on this host: trace with --engine=interp",
                                         guest->engine->name())},
                            messages);
    }

    study::TracingEngine tracer(*guest->machine, *guest->engine, options.trace, [&](std::string_view line) {
        if (!(*out)->line(line)) interrupt_run();
    });
    RunHooks hooks = usual_hooks(*guest->machine, *guest->pc, options);
    hooks.poll = [&] { console.poll(); };
    RunResult result;
    {
        const WaitLimit limit(options.engine.limits.timeout);
        const KickOnSignal kick(*guest->engine);
        result = run_loop(*guest->machine, tracer, options.engine.limits, hooks);
    }
    guest->engine->pull(Groups::All);
    console.flush();
    const auto disks = finish_disks(*guest);
    const auto written = (*out)->finish();  // whatever became of the disks
    for (const auto* done : {&disks, &written}) {
        if (!*done) return report_error(done->error(), messages);
    }
    if (const auto& end = console.end()) return report_error({end->status, end->text}, messages);
    if (firmware.nothing_to_boot() && result.reason == "interrupted") {
        return report_error({ExitStatus::BadImage, FirmwareWatch::what_is_wanted(options.guest)}, messages);
    }
    return report(result, tracer, *guest, options, messages);
}

}  // namespace dualvm::app
