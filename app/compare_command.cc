// dualvm compare: one guest under every engine that this host has.
#include <unistd.h>

#include "commands.h"
#include "dualvm/study/compare.h"
#include "firmware_watch.h"
#include "guest.h"
#include "interruption.h"
#include "json_report.h"

namespace dualvm::app {

namespace {

// What lives as long as a comparison's subject: the devices' handle, and the way of a signal to the engine.
struct Attachments {
    std::unique_ptr<devices::Pc> pc;
    KickOnSignal kick;
    Attachments(std::unique_ptr<devices::Pc> its_pc, Engine& engine) : pc(std::move(its_pc)), kick(engine) {}
};

Expected<std::unique_ptr<study::Subject>> make_subject(const Options& options, EngineName engine,
                                                       FirmwareWatch& firmware) {
    auto subject = std::make_unique<study::Subject>();
    GuestOutputs outputs;
    outputs.serial = [output = subject->output](u8 byte) { output->push_back(static_cast<char>(byte)); };
    outputs.firmware = [&firmware](u8 byte) {
        if (firmware.take(byte)) interrupt_run();
    };
    const ClockKind clock = engine == EngineName::Kvm ? ClockKind::Host : ClockKind::Virtual;
    auto guest = make_guest(options, engine, clock, outputs);
    if (!guest) return tl::unexpected(guest.error());
    subject->machine = std::move(guest->machine);
    subject->engine = std::move(guest->engine);
    subject->hooks = usual_hooks(*subject->machine, *guest->pc, options);
    subject->attachments = std::make_shared<Attachments>(std::move(guest->pc), *subject->engine);
    return subject;
}

}  // namespace

int compare_command(const Options& given, const Messages& messages) {
    Options options = given;
    // What is compared is KVM: with the kernel interpreted both columns would be the same engine's for the most part.
    if (options.engine.assist == Assist::Auto) options.engine.assist = Assist::Instruction;
    auto json = JsonReport::open(options.json);
    if (!json) return report_error(json.error(), messages);

    study::CompareOptions what;
    for (EngineName engine : {EngineName::Interp, EngineName::Kvm}) what.engines.emplace_back(to_string(engine));
    what.repeat = options.repeat;
    what.limits = options.engine.limits;
    FirmwareWatch firmware;
    const auto comparison = study::compare(what, [&](const std::string& name) {
        return make_subject(options, name == to_string(EngineName::Kvm) ? EngineName::Kvm : EngineName::Interp,
                            firmware);
    });
    if (!comparison) return report_error(comparison.error(), messages);
    if (firmware.nothing_to_boot()) {
        return report_error({ExitStatus::BadImage, FirmwareWatch::what_is_wanted(options.guest)}, messages);
    }

    int status = comparison->status();
    study::TableStyle style;
    if (wants_color(options.color, STDOUT_FILENO)) style = {.bold = "\x1b[1m", .plain = "\x1b[0m"};
    if (options.json.to != JsonOptions::To::StandardOutput) {
        if (auto printed = print(to_text(*comparison, style)); !printed) {
            status = report_error(printed.error(), messages);
        }
    }
    if (json->wanted()) {
        Json report = comparison_json(*comparison);
        report["status"] = status;
        report["guest"] = guest_json(options.guest);
        report["host"] = host_json();
        if (auto written = json->write(report); !written) status = report_error(written.error(), messages);
    }
    return status;
}

}  // namespace dualvm::app
