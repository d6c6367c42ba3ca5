// dualvm probe: what this host's /dev/kvm can do, measured.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "commands.h"
#include "dualvm/kvm/probe.h"
#include "dualvm/study/host.h"
#include "json_report.h"

namespace dualvm::app {

namespace {

std::string host_text() {
    const study::HostInfo host = study::host_info();
    return fmt::format("{}, {} CPUs, {}, {}\n\n", host.cpu, host.cpus, host.kernel,
                       host.kvm_module.empty() ? "no KVM module loaded" : "KVM module " + host.kvm_module);
}

// what, value and unit in columns; the longer word for what it means behind them.
std::string table(const KvmReport& report, const char* bold, const char* normal) {
    std::size_t what = 4, value = 8;
    for (const auto& row : report.rows) {
        what = std::max(what, row.what.size());
        value = std::max(value, row.value.size() + (row.unit.empty() ? 0 : row.unit.size() + 1));
    }
    std::string text = fmt::format("{}{:<{}}  {:>{}}{}\n", bold, "what", what, "measured", value, normal);
    for (const auto& row : report.rows) {
        const std::string measured = row.unit.empty() ? row.value : row.value + ' ' + row.unit;
        std::string line = fmt::format("{:<{}}  {:>{}}", row.what, what, measured, value);
        if (!row.text.empty()) line += "  " + row.text;
        text += line + '\n';
    }
    return text;
}

Json probe_json(const Expected<KvmReport>& report) {
    Json rows = Json::array();
    if (report) {
        for (const auto& row : report->rows) {
            rows.push_back(
                {{"id", row.id}, {"what", row.what}, {"value", row.value}, {"unit", row.unit}, {"text", row.text}});
        }
    }
    Json json = {{"engine", "kvm"}, {"available", report.has_value()}, {"reason", nullptr}, {"rows", rows}};
    if (!report) json["reason"] = report.error().text;
    json["host"] = host_json();
    return json;
}

}  // namespace

int probe_command(const Options& options, const Messages& messages) {
    auto json = JsonReport::open(options.json);
    if (!json) return report_error(json.error(), messages);

    ProbeOptions what;
    what.device = options.engine.kvm_device;
    const auto report = probe_kvm(what);

    const bool color = wants_color(options.color, STDOUT_FILENO);
    std::string text = host_text();
    if (report) {
        text += table(*report, color ? "\x1b[1m" : "", color ? "\x1b[0m" : "");
    } else {
        text += "KVM is not usable here: the engine kvm is not available, interp is\n";
    }
    int status = static_cast<int>(ExitStatus::Clean);
    // With --json=-, standard output is for programs.
    if (options.json.to != JsonOptions::To::StandardOutput) {
        if (auto printed = print(text); !printed) status = report_error(printed.error(), messages);
    }
    if (!report) status = report_error(report.error(), messages);
    if (json->wanted()) {
        if (auto written = json->write(probe_json(report)); !written) status = report_error(written.error(), messages);
    }
    return status;
}

}  // namespace dualvm::app
