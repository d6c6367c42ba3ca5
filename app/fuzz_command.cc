// dualvm fuzz: the interpreter against an oracle.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "commands.h"
#include "dualvm/interp/interpreter.h"
#include "dualvm/kvm/kvm_engine.h"
#include "dualvm/study/engine_runner.h"
#include "dualvm/study/fuzz.h"
#include "dualvm/study/native_cpu.h"
#include "interruption.h"
#include "json_report.h"

namespace dualvm::app {

namespace {

constexpr u64 kUsualCases = 100'000;
constexpr std::size_t kLargestCase = std::size_t{1} << 20;

template <class R>
Expected<std::unique_ptr<study::Runner>> as_runner(Expected<std::unique_ptr<R>> made) {
    if (!made) return tl::unexpected(made.error());
    return std::unique_ptr<study::Runner>(std::move(*made));
}

Expected<std::unique_ptr<study::Runner>> make_tested(const std::string& name, const std::vector<std::string>& without) {
    return as_runner(
        study::EngineRunner::create(name, [&without](Machine& machine) -> Expected<std::unique_ptr<Engine>> {
            return make_interpreter(machine, {.without = without});
        }));
}

study::FuzzSubjects subjects(const Options& options) {
    study::FuzzSubjects subjects;
    if (const auto& without = options.engine.without; !without.empty()) {
        const std::string name = fmt::format("interp without {}", fmt::join(without, ", "));
        subjects.tested = {[=] { return make_tested(name, without); }};
    } else {
        // The interpreter as it is, and with every instruction done by its readable implementation.
        subjects.tested = {[] { return make_tested("interp", {}); },
                           [] { return make_tested("interp-reference", {"fast"}); }};
    }
    subjects.oracle = [] { return as_runner(study::NativeCpu::create()); };
    if (options.fuzz.kvm) {
        subjects.oracle = [device = options.engine.kvm_device] {
            auto made = as_runner(study::EngineRunner::create("kvm", [&device](Machine& machine) {
                KvmOptions kvm;
                kvm.device = device;
                return make_kvm_engine(machine, std::move(kvm));
            }));
            if (!made) made.error().text += "; the usual oracle needs no KVM: leave out --oracle=kvm";
            return made;
        };
    }
    return subjects;
}

// --- what is said ----------------------------------------------------------------------------------------------------

std::string report_text(const study::FuzzReport& report) {
    std::string text;
    for (const study::Finding& f : report.findings) {
        text += fmt::format("--- case {}, {} and {} differ{}\n{}\n", f.index, report.oracle, f.tested,
                            f.times > 1 ? fmt::format(" ({} cases like it)", f.times) : "", f.explanation);
    }
    text += fmt::format("{} cases in {:.1f} s against the oracle '{}', {:.0f} a second; {} instruction forms\n",
                        report.cases, report.seconds, report.oracle,
                        report.seconds > 0 ? static_cast<double>(report.cases) / report.seconds : 0.0,
                        report.coverage.size());
    for (const auto& [reason, count] : report.reasons) text += fmt::format("{} more not compared: {}\n", count, reason);
    text += report.different == 0
                ? "0 differences\n"
                : fmt::format("{} differences, {} of them told apart\n", report.different, report.findings.size());
    return text;
}

Json report_json(const study::FuzzReport& report, const FuzzCommandOptions& fuzz) {
    Json findings = Json::array();
    for (const study::Finding& f : report.findings) {
        const std::string about =
            fmt::format("seed {}, case {}: {} differed from {}", fuzz.seed, f.index, f.tested, report.oracle);
        findings.push_back({{"index", f.index},
                            {"tested", f.tested},
                            {"times", f.times},
                            {"explanation", f.explanation},
                            {"case", Json::parse(case_to_json(CpuModel::standard(), f.smallest, about))}});
    }
    return {{"oracle", report.oracle},
            {"seed", fuzz.seed},
            {"cases", report.cases},
            {"not_compared", report.reasons},
            {"different", report.different},
            {"findings", findings},
            {"seconds", report.seconds},
            {"forms", report.coverage.size()},
            {"forms_not_compared", report.coverage_in_vain},
            {"modes", report.with_32_bit_code ? Json{"64", "32"} : Json{"64"}},
            {"interrupted", report.interrupted},
            {"host", host_json()}};
}

// --- files -----------------------------------------------------------------------------------------------------------

Expected<void> write_file(const std::string& path, const std::string& text) {
    auto file = OutputFile::create(path);
    if (!file) return tl::unexpected(file.error());
    file->write(text);
    return file->commit();
}

Expected<void> keep_findings(const study::FuzzReport& report, const FuzzCommandOptions& fuzz) {
    for (const study::Finding& f : report.findings) {
        const std::string name = fmt::format("{}-seed{}-case{}", report.oracle, fuzz.seed, f.index);
        const std::string about =
            fmt::format("found as case {} of seed {} by the oracle {}", f.index, fuzz.seed, report.oracle);
        const std::string text = case_to_json(CpuModel::standard(), f.smallest, about);
        if (auto kept = write_file(fuzz.regressions + '/' + name + ".json", text); !kept) return kept;
    }
    return {};
}

Expected<std::string> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string text(kLargestCase, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (!in.eof() || text.empty()) {
        return fail(ExitStatus::BadImage, fmt::format("cannot read {}: is it a case that 'dualvm fuzz' kept?", path));
    }
    return text;
}

// --- replaying -------------------------------------------------------------------------------------------------------

int replay(const Options& options, const Messages& messages) {
    const study::FuzzSubjects who = subjects(options);
    auto oracle = who.oracle();
    if (!oracle) return report_error(oracle.error(), messages);
    std::vector<std::unique_ptr<study::Runner>> all_tested;
    for (const study::MakeRunner& make : who.tested) {
        auto tested = make();
        if (!tested) return report_error(tested.error(), messages);
        all_tested.push_back(std::move(*tested));
    }
    ExitStatus status = ExitStatus::Clean;
    for (const std::string& path : options.fuzz.replay) {
        if (interrupted()) return report_error({ExitStatus::Limit, "interrupted"}, messages);
        const auto text = read_file(path);
        if (!text) return report_error(text.error(), messages);
        const auto c = study::case_from_json(*text);
        if (!c) return report_error({c.error().status, path + ": " + c.error().text}, messages);
        std::string said;
        if (!(*oracle)->can_run(c->mode)) {
            said = "not compared: the oracle cannot run it\n";
        }
        for (std::size_t i = 0; i < all_tested.size() && said.empty(); ++i) {
            const auto explanation = study::replay(CpuModel::standard(), *c, **oracle, *all_tested[i]);
            if (!explanation) {
                said = "not compared: " + explanation.error().text + '\n';
            } else if (!explanation->empty()) {
                said = "different\n" + *explanation;
                status = ExitStatus::Disagreement;
            }
        }
        if (said.empty()) said = "equal\n";
        if (auto printed = print(fmt::format("{}: {}", path, said)); !printed)
            return report_error(printed.error(), messages);
    }
    return static_cast<int>(status);
}

}  // namespace

int fuzz_command(const Options& options, const Messages& messages) {
    const FuzzCommandOptions& f = options.fuzz;
    if (!f.replay.empty()) return replay(options, messages);
    auto json = JsonReport::open(options.json);
    if (!json) return report_error(json.error(), messages);
    std::optional<OutputFile> coverage;
    if (!f.coverage.empty()) {
        auto file = OutputFile::create(f.coverage);
        if (!file) return report_error(file.error(), messages);
        coverage.emplace(std::move(*file));
    }
    if (!f.regressions.empty() && access(f.regressions.c_str(), W_OK | X_OK) != 0) {
        return report_error({ExitStatus::BadImage,
                             fmt::format("cannot write to the folder {}: {}; --regressions wants one that is there",
                                         f.regressions, std::strerror(errno))},
                            messages);
    }

    study::FuzzOptions what;
    what.cases = f.cases.value_or(f.minutes ? kUnlimited : kUsualCases);
    what.seed = f.seed;
    what.minutes = f.minutes;
    what.jobs = f.jobs;
    what.only = f.only;
    what.interrupted = &interrupted_flag();
    if (isatty(STDERR_FILENO) != 0) {
        what.progress = [&](u64 cases, u64 findings) {
            messages.note(fmt::format("{} cases, {} findings", cases, findings));
        };
    }
    const auto report = study::fuzz(CpuModel::standard(), what, subjects(options));
    if (!report) return report_error(report.error(), messages);

    int status = report->status();
    if (options.json.to != JsonOptions::To::StandardOutput) {
        if (auto printed = print(report_text(*report)); !printed) status = report_error(printed.error(), messages);
    }
    if (coverage) {
        coverage->write(Json(report->coverage).dump(1) + '\n');
        if (auto kept = coverage->commit(); !kept) status = report_error(kept.error(), messages);
    }
    if (!f.regressions.empty()) {
        if (auto kept = keep_findings(*report, f); !kept) status = report_error(kept.error(), messages);
    }
    if (json->wanted()) {
        if (auto written = json->write(report_json(*report, f)); !written) {
            status = report_error(written.error(), messages);
        }
    }
    return status;
}

}  // namespace dualvm::app
