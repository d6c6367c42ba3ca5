// dualvm run: one guest under one engine.
#include <fmt/format.h>
#include <unistd.h>

#include "commands.h"
#include "console.h"
#include "firmware_watch.h"
#include "guest.h"
#include "interruption.h"
#include "json_report.h"
#include "key_player.h"
#include "live_screen.h"
#include "run_log.h"
#include "run_report.h"
#include "screen_output.h"
#include "terminal.h"
#include "terminal_type.h"

namespace dualvm::app {

namespace {

// Whether the guest's screen is shown while it runs: if that was asked for, or where QEMU would open a window, at a
// terminal with a guest that comes with firmware and so writes to its screen.
Expected<bool> wants_live_screen(const Options& options, const Messages& messages) {
    if (options.live == LiveChoice::No) return false;
    if (options.live == LiveChoice::Yes) {
        const std::string why_not = why_no_full_screen();
        if (why_not.empty()) return true;
        return fail(ExitStatus::BadImage, fmt::format("--screen=live cannot show the guest's screen: {}; --screen=text "
                                                      "prints it at the end",
                                                      why_not));
    }
    const bool usual = options.guest.boot.kernel.empty() && options.guest.graphic && !options.serial_chosen &&
                       isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
    if (!usual) return false;
    const std::string why_not = why_no_full_screen();
    if (!why_not.empty()) messages.note("the guest's screen is not shown: " + why_not);
    return why_not.empty();
}

// With a live screen the serial port is its other view, unless it goes to a file or nowhere.
Expected<std::unique_ptr<Console>> make_console(const Options& options, bool live) {
    switch (options.serial) {
        case SerialKind::Stdio:
            if (live) break;
            return std::make_unique<Console>(STDOUT_FILENO, std::nullopt, /*input=*/true);
        case SerialKind::None: break;
        case SerialKind::File: {
            auto file = OutputFile::create(options.serial_path);
            if (!file) return tl::unexpected(file.error());
            return std::make_unique<Console>(-1, std::move(*file), /*input=*/false);
        }
    }
    return std::make_unique<Console>(-1, std::nullopt, /*input=*/false);
}

RunHooks make_hooks(Guest& guest, Console& console, LiveScreen* live, const Options& options) {
    RunHooks hooks = usual_hooks(*guest.machine, *guest.pc, options);
    if (live != nullptr) {
        hooks.poll = [&console, live] {
            console.poll();
            live->poll();
        };
        hooks.wait = [&console, live](Nanoseconds up_to) {
            console.flush();
            live->wait(up_to);
        };
        hooks.input_possible = [] { return true; };  // somebody sits there
        return hooks;
    }
    hooks.poll = [&console] { console.poll(); };
    hooks.wait = [&console](Nanoseconds up_to) { console.wait(up_to); };
    hooks.input_possible = [&guest, &console] {
        return console.input_possible() && guest.pc->serial_input_interrupts();
    };
    return hooks;
}

// Everything that is said after the run. Returns the status to end with.
int conclude(const RunResult& result, Guest& guest, const EngineChoice& choice, const Options& options,
             const Console& console, bool live, bool last_words, RunLog& log, ScreenOutput& screen, JsonReport& json,
             const Messages& messages) {
    int status = result.status;
    const auto check = [&](const Expected<void>& done) {
        if (!done) status = report_error(done.error(), messages);
    };
    report_end(result, guest, options.syntax, messages);
    log.ended(guest.machine->cpu());
    check(finish_disks(guest));
    check(log.finish());
    check(screen.finish(guest.pc->vga()));
    if (options.screen.text || last_words) {
        messages.plain(screen_text(guest.pc->vga().screen()));
    } else if (!live && options.screen.png_path.empty() && guest.pc->vga().used() && console.bytes_written() == 0) {
        messages.note("the guest wrote to its screen and not to its serial port: --screen=text shows the screen");
    }
    if (options.statistics) messages.plain(statistics_text(result, guest));
    if (json.wanted()) {
        Json report = run_json(result, guest, choice, options);
        report["status"] = status;
        check(json.write(report));
    }
    return status;
}

}  // namespace

int run_command(const Options& options, const Messages& messages) {
    auto json = JsonReport::open(options.json);
    if (!json) return report_error(json.error(), messages);
    auto log = RunLog::open(options.log);
    if (!log) return report_error(log.error(), messages);
    auto screen = ScreenOutput::open(options.screen);
    if (!screen) return report_error(screen.error(), messages);
    const auto live = wants_live_screen(options, messages);
    if (!live) return report_error(live.error(), messages);
    auto console = make_console(options, *live);
    if (!console) return report_error(console.error(), messages);

    auto script = load_key_script(options.sendkeys);
    if (!script) return report_error(script.error(), messages);

    EngineChoice choice = choose_engine(options);
    // Who looks on lives in the host's time.
    if (*live && !options.engine.clock) choice.clock = ClockKind::Host;
    std::unique_ptr<LiveScreen> live_screen;
    GuestOutputs outputs;
    outputs.serial = [&c = **console, &live_screen](u8 byte) {
        c.output(byte);
        if (live_screen) live_screen->serial_output(byte);
    };
    outputs.debug_console = [&c = **console](u8 byte) { c.debug_output(byte); };
    FirmwareWatch firmware;
    outputs.firmware = [&l = **log, &firmware, &live_screen, shown = options.log.firmware](u8 byte) {
        if (shown) l.firmware(byte);
        // Who looks at the screen reads it there.
        if (firmware.take(byte) && !live_screen) interrupt_run();
    };
    outputs.disk_trouble = [&messages](const std::string& text) { messages.note(text); };
    outputs.loaded = [&l = **log](const boot::BootReport& report) { l.loaded(report); };
    auto guest = make_guest(options, choice.engine, choice.clock, outputs);
    if (!guest) return report_error(with_way_out(guest.error(), options.engine), messages);
    if (!choice.why.empty()) messages.note(fmt::format("engine {}: {}", to_string(choice.engine), choice.why));
    if (choice.engine == EngineName::Kvm) {
        const AssistChoice assist = choose_assist(options.engine);
        if (!assist.why.empty()) messages.note(fmt::format("assist {}: {}", to_string(assist.assist), assist.why));
        if (!assist.limit.empty()) messages.note(assist.limit);
    }

    (*console)->connect(*guest->pc);
    KeyPlayer keys(guest->machine->clock(), *guest->pc);
    keys.add(*script);
    (*log)->attach(*guest->machine, [&c = **console] { return c.goes_on_waiting(); });
    RunResult result;
    Expected<void> output;
    std::optional<ConsoleEnd> left;
    {
        if ((*console)->input_possible() && isatty(STDIN_FILENO) != 0) messages.note("Ctrl-A x leaves, Ctrl-A h helps");
        // Where nobody reads keys, Ctrl-C is to stay the signal that ends the run.
        std::optional<RawTerminal> raw;
        if ((*console)->input_possible() || *live) raw.emplace();
        if (*live) {
            auto opened = LiveScreen::open(*guest->machine, *guest->pc);
            if (!opened) return report_error(opened.error(), messages);
            live_screen = std::move(*opened);
        }
        const WaitLimit limit(options.engine.limits.timeout);
        const KickOnSignal kick(*guest->engine);
        result = run_loop(*guest->machine, *guest->engine, options.engine.limits,
                          make_hooks(*guest, **console, live_screen.get(), options));
        guest->engine->pull(Groups::All);
        guest->engine->collect_dirty();
        output = (*console)->finish();
        if (live_screen) left = live_screen->end();
        live_screen.reset();
    }
    if (firmware.nothing_to_boot() && !*live && result.reason == "interrupted") {
        result.status = static_cast<int>(ExitStatus::BadImage);
        result.reason = "nothing-to-boot";
        result.text = FirmwareWatch::what_is_wanted(options.guest) + "; --screen=text shows what it says";
    }
    if (!left) left = (*console)->end();
    // The last words of a guest that ended by itself, which were on the screen that is gone.
    const bool last_words = *live && !left;
    if (const auto& end = left) {
        result.status = static_cast<int>(end->status);
        result.reason = end->reason;
        result.text = end->text;
    }
    if (!output) {
        result.status = static_cast<int>(output.error().status);
        result.reason = "output-failed";
        result.text = output.error().text;
    }
    if (const std::string rest = keys.what_is_left(); !rest.empty()) messages.note("--sendkeys: " + rest);
    return conclude(result, *guest, choice, options, **console, *live, last_words, **log, *screen, *json, messages);
}

}  // namespace dualvm::app
