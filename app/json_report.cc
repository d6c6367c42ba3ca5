#include "json_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "dualvm/study/host.h"
#include "messages.h"

namespace dualvm::app {

Json host_json() {
    const study::HostInfo host = study::host_info();
    Json kvm_module = nullptr;
    if (!host.kvm_module.empty()) kvm_module = host.kvm_module;
    return {{"cpu", host.cpu},          {"cpus", host.cpus},         {"kernel", host.kernel},
            {"kvm_module", kvm_module}, {"compiler", host.compiler}, {"dualvm", DUALVM_VERSION}};
}

Json exits_json(const EngineStatistics& statistics) {
    Json exits = Json::object();
    for (std::size_t kind = 0; kind < kExitKinds; ++kind) {
        exits[to_string(static_cast<ExitKind>(kind))] = statistics.exits[kind];
    }
    return exits;
}

Json statistics_json(const EngineStatistics& statistics) {
    Json counters = Json::object();
    for (const auto& [name, count] : statistics.named) counters[name] = count;
    return {{"interrupts_injected", statistics.interrupts_injected},
            {"exceptions_delivered", statistics.exceptions_delivered},
            {"pulls", statistics.pulls},
            {"pushes", statistics.pushes},
            {"rescues", statistics.rescues},
            {"counters", counters}};
}

Json guest_json(const GuestOptions& guest) {
    return {{"kernel", guest.boot.kernel},
            {"initrd", guest.boot.initrd},
            {"append", guest.boot.append},
            {"memory_mebibytes", guest.memory_mebibytes}};
}

Json comparison_json(const study::Comparison& comparison) {
    Json runs = Json::array();
    for (const study::EngineRun& run : comparison.runs) {
        if (run.unavailable) {
            runs.push_back({{"engine", run.engine}, {"available", false}, {"unavailable_because", *run.unavailable}});
            continue;
        }
        Json json = {{"engine", run.engine},
                     {"available", true},
                     {"status", run.result.status},
                     {"reason", run.result.reason},
                     {"instructions", nullptr},
                     {"seconds", run.median_seconds},
                     {"all_seconds", run.seconds},
                     {"mips", nullptr},
                     {"mips_count_from", nullptr},
                     {"speedup", run.speedup},
                     {"output_bytes", run.output.size()},
                     {"dirty_pages", run.dirty_pages},
                     {"exits", exits_json(run.statistics)},
                     {"statistics", statistics_json(run.statistics)}};
        if (run.result.instructions) json["instructions"] = *run.result.instructions;
        if (run.mips) {
            json["mips"] = *run.mips;
            json["mips_count_from"] = run.mips_count_from;
        }
        runs.push_back(std::move(json));
    }
    return {{"runs", runs},
            {"compared", comparison.ran() > 1},
            {"agree", comparison.disagreements.empty()},
            {"disagreements", comparison.disagreements},
            {"cut_short", comparison.cut_short},
            {"cpu_differences", comparison.cpu_differences}};
}

Expected<JsonReport> JsonReport::open(const JsonOptions& options) {
    JsonReport report;
    report.options_ = options;
    if (options.to == JsonOptions::To::File) {
        auto file = OutputFile::create(options.path);
        if (!file) return tl::unexpected(file.error());
        report.file_.emplace(std::move(*file));
    }
    return report;
}

Expected<void> JsonReport::write(const Json& report) {
    // File names may be any bytes; JSON is UTF-8.
    const std::string text = report.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
    switch (options_.to) {
        case JsonOptions::To::Nowhere: break;
        case JsonOptions::To::StandardError:
            if (const int error = write_all(STDERR_FILENO, text); error != 0) {
                return fail(ExitStatus::BadImage,
                            fmt::format("cannot write to standard error: {}", std::strerror(error)));
            }
            break;
        case JsonOptions::To::StandardOutput: return print(text);
        case JsonOptions::To::File: file_->write(text); return file_->commit();
    }
    return {};
}

}  // namespace dualvm::app
