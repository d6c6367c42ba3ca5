// dualvm run: one guest under one engine.
#include <fmt/format.h>
#include <unistd.h>

#include "commands.h"
#include "console.h"
#include "firmware_watch.h"
#include "guest.h"
#include "interruption.h"
#include "json_report.h"
#include "run_log.h"
#include "run_report.h"
#include "terminal.h"

namespace dualvm::app {

namespace {

Expected<std::unique_ptr<Console>> make_console(const Options& options) {
    switch (options.serial) {
        case SerialKind::Stdio: return std::make_unique<Console>(STDOUT_FILENO, std::nullopt, /*input=*/true);
        case SerialKind::None: break;
        case SerialKind::File: {
            auto file = OutputFile::create(options.serial_path);
            if (!file) return tl::unexpected(file.error());
            return std::make_unique<Console>(-1, std::move(*file), /*input=*/false);
        }
    }
    return std::make_unique<Console>(-1, std::nullopt, /*input=*/false);
}

RunHooks make_hooks(Guest& guest, Console& console, const Options& options) {
    RunHooks hooks = usual_hooks(*guest.machine, *guest.pc, options);
    hooks.poll = [&console] { console.poll(); };
    hooks.wait = [&console](Nanoseconds up_to) { console.wait(up_to); };
    hooks.input_possible = [&guest, &console] {
        return console.input_possible() && guest.pc->serial_input_interrupts();
    };
    return hooks;
}

void print_screen(const Guest& guest, const Messages& messages) {
    std::string screen = guest.pc->vga().text();
    if (!screen.empty() && !screen.ends_with('\n')) screen += '\n';
    messages.plain(screen);
}

std::string nothing_to_boot_text(const GuestOptions& guest) {
    const BootOrder& order = guest.order;
    return fmt::format(
        "the BIOS found nothing to boot from (boot order '{}'): a disk, CD-ROM or floppy disk with a boot "
        "sector is wanted (-hda, -cdrom, -fda); --screen=text shows what it says",
        order.once.empty() ? order.order : order.once);
}

// Everything that is said after the run. Returns the status to end with.
int conclude(const RunResult& result, Guest& guest, const EngineChoice& choice, const Options& options,
             const Console& console, RunLog& log, JsonReport& json, const Messages& messages) {
    int status = result.status;
    const auto check = [&](const Expected<void>& done) {
        if (!done) status = report_error(done.error(), messages);
    };
    report_end(result, guest, options.syntax, messages);
    log.ended(guest.machine->cpu());
    check(log.finish());
    if (options.screen) {
        print_screen(guest, messages);
    } else if (guest.pc->vga().used() && console.bytes_written() == 0) {
        messages.note("the guest wrote to its screen and not to its serial port: --screen=text shows the screen");
    }
    if (options.statistics) messages.plain(statistics_text(result, guest));
    if (json.wanted()) check(json.write(run_json(result, guest, choice, options)));
    return status;
}

}  // namespace

int run_command(const Options& options, const Messages& messages) {
    auto json = JsonReport::open(options.json);
    if (!json) return report_error(json.error(), messages);
    auto log = RunLog::open(options.log);
    if (!log) return report_error(log.error(), messages);
    auto console = make_console(options);
    if (!console) return report_error(console.error(), messages);

    const EngineChoice choice = choose_engine(options);
    GuestOutputs outputs;
    outputs.serial = [&c = **console](u8 byte) { c.output(byte); };
    outputs.debug_console = [&c = **console](u8 byte) { c.debug_output(byte); };
    FirmwareWatch firmware;
    outputs.firmware = [&l = **log, &firmware, shown = options.log.firmware](u8 byte) {
        if (shown) l.firmware(byte);
        if (firmware.take(byte)) interrupt_run();
    };
    outputs.disk_trouble = [&messages](const std::string& text) { messages.note(text); };
    outputs.loaded = [&l = **log](const boot::BootReport& report) { l.loaded(report); };
    auto guest = make_guest(options, choice.engine, choice.clock, outputs);
    if (!guest) return report_error(guest.error(), messages);
    if (!choice.why.empty()) messages.note(fmt::format("engine {}: {}", to_string(choice.engine), choice.why));

    (*console)->connect(*guest->pc);
    (*log)->attach(*guest->machine);
    RunResult result;
    Expected<void> output;
    {
        if ((*console)->input_possible() && isatty(STDIN_FILENO) != 0) messages.note("Ctrl-A x leaves, Ctrl-A h helps");
        const RawTerminal raw;
        const KickOnSignal kick(*guest->engine);
        result =
            run_loop(*guest->machine, *guest->engine, options.engine.limits, make_hooks(*guest, **console, options));
        guest->engine->pull(Groups::All);
        guest->engine->collect_dirty();
        output = (*console)->finish();
    }
    if (firmware.nothing_to_boot() && result.reason == "interrupted") {
        result.status = static_cast<int>(ExitStatus::BadImage);
        result.reason = "nothing-to-boot";
        result.text = nothing_to_boot_text(options.guest);
    }
    if (const auto& end = (*console)->end()) {
        result.status = static_cast<int>(end->status);
        result.reason = end->reason;
        result.text = end->text;
    }
    if (!output) {
        result.status = static_cast<int>(output.error().status);
        result.reason = "output-failed";
        result.text = output.error().text;
    }
    return conclude(result, *guest, choice, options, **console, **log, *json, messages);
}

}  // namespace dualvm::app
