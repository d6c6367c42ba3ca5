#include "options.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <algorithm>
#include <memory>

#include "dualvm/boot/firmware.h"
#include "dualvm/interp/interpreter.h"
#include "help.h"
#include "named_files.h"
#include "option_conflicts.h"
#include "spelling.h"
#include "switch_option.h"
#include "values.h"

namespace dualvm::app {

namespace {

constexpr int kUsage = static_cast<int>(ExitStatus::Usage);

// QEMU's options for what this version does not have yet: refused, not ignored.
struct Refused {
    const char* name;
    const char* what;
    bool takes_value;
};
constexpr Refused kRefused[] = {
    {"--gdb", "debugger's port", true},
    {"-s", "debugger's port", false},
    {"-S", "debugger's port", false},
};

class Parser {
public:
    Parser() : app_("dualvm: one x86 machine, run by an interpreter or by /dev/kvm", "dualvm") {
        app_.formatter(make_formatter());
        app_.footer(top_level_footer());
        app_.set_help_flag("-h,--help", "This text");
        app_.set_version_flag("-V,--version", version_text(), "The version");
        app_.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);

        CLI::App& run = add(Command::Run, "run");
        add_guest(run);
        add_engine(run, /*one=*/true);
        add_switching(run);
        add_limits(run);
        add_console(run);
        add_reports(run);

        CLI::App& compare = add(Command::Compare, "compare");
        add_guest(compare, kHidden);
        add_engine(compare, /*one=*/false);
        add_limits(compare);
        value(compare, "--repeat", "N", "Run N times under each engine", "Report",
              [this](const std::string& text) { options_.repeat = repeat(text); });
        add_json(compare);

        CLI::App& probe = add(Command::Probe, "probe");
        add_kvm_device(probe);
        add_json(probe);

        CLI::App& trace = add(Command::Trace, "trace");
        add_guest(trace);
        add_engine(trace, /*one=*/true);
        add_limits(trace);
        add_trace(trace);

        add_disasm(add(Command::Disasm, "disasm"));
        add_fuzz(add(Command::Fuzz, "fuzz"));

        CLI::App& img = add(Command::Img, "img");
        add_img_actions(img, options_.img);
        for (CLI::App* action : img.get_subcommands({})) add_color(*action);
        for (const char* action : {"info", "check"}) add_json(*img.get_subcommand(action));
        for (CLI::App* command : app_.get_subcommands({})) add_color(*command);
    }

    tl::expected<Options, ParseEnd> parse(const std::vector<std::string>& arguments) {
        if (arguments.empty()) return tl::unexpected(ParseEnd{kUsage, short_help()});
        auto words = spelled(arguments);
        if (!words) return tl::unexpected(words.error());
        try {
            std::reverse(words->begin(), words->end());  // CLI11 takes them from the back
            app_.parse(*words);
        } catch (const CLI::CallForHelp&) {
            return tl::unexpected(ParseEnd{0, app_.help()});
        } catch (const CLI::CallForVersion& version) {
            return tl::unexpected(ParseEnd{0, version.what()});
        } catch (const CLI::ExtrasError&) {
            return tl::unexpected(mistake(arguments[0], fmt::format("'{}' is one argument too many", first_extra())));
        } catch (const CLI::ParseError& error) {
            return tl::unexpected(mistake(arguments[0], error.what()));
        }
        return finish(arguments[0]);
    }

private:
    using OnValue = std::function<void(const std::string&)>;
    // Groups of options in the help text.
    static constexpr const char* kGuest = "The guest";
    static constexpr const char* kHidden = "";

    static ParseEnd mistake(const std::string& command, std::string_view what) {
        return {kUsage, fmt::format("dualvm {0}: {1}\n'dualvm {0} --help' explains the options.\n", command, what)};
    }

    // Each names an image file.
    void add_drives(CLI::App& to, const char* group) {
        DriveOptions& drives = options_.guest.drives;
        const auto file = [&](const char* name, const char* what, std::string& path) {
            value(to, name, "FILE", what, group,
                  [name, &path](const std::string& text) { path = name_of_file(name, text); });
        };
        file("--hda", "Hard disk: an image, raw, qcow or qcow2", drives.disks[0]);
        file("--hdb", "The second hard disk", drives.disks[1]);
        file("--hdc", "The third", drives.disks[2]);
        file("--hdd", "The fourth", drives.disks[3]);
        file("--cdrom", "CD-ROM image, in -hdc's place", drives.cdrom);
        file("--fda", "Floppy disk image", drives.floppies[0]);
        file("--fdb", "The second floppy disk", drives.floppies[1]);
    }

    std::string first_extra() const {
        const std::vector<std::string> extras = app_.remaining(/*recurse=*/true);
        return extras.empty() ? "" : extras.front();
    }

    // The arguments in CLI11's spelling; the first of them must name a command.
    tl::expected<std::vector<std::string>, ParseEnd> spelled(const std::vector<std::string>& arguments) {
        const std::string& first = arguments[0];
        if (first.starts_with("-")) {
            auto words = in_one_spelling(app_, arguments);
            if (words) return *words;
            for (const CLI::App* command : app_.get_subcommands({})) {
                if (in_one_spelling(*command, {first, "value"})) {
                    return tl::unexpected(ParseEnd{
                        kUsage, fmt::format("dualvm: a command comes first: did you mean 'dualvm {} {} ...'?\n",
                                            command->get_name(), first)});
                }
            }
            return tl::unexpected(ParseEnd{kUsage, fmt::format("dualvm: {}\n{}", words.error(), short_help())});
        }
        if (first == "help") {
            if (arguments.size() == 1) return std::vector<std::string>{"--help"};
            std::vector<std::string> words(arguments.begin() + 1, arguments.end());
            words.emplace_back("--help");
            return spelled(words);
        }
        const auto command = subcommand(app_, first);
        if (!command) {
            return tl::unexpected(ParseEnd{
                kUsage, fmt::format("dualvm: there is no command '{}'{}\n\n{}", first, command.error(), short_help())});
        }
        // A command may have commands of its own, like img.
        const CLI::App* inner = *command;
        auto rest = arguments.begin() + 1;
        if (!inner->get_subcommands({}).empty() && rest != arguments.end() && !rest->starts_with("-")) {
            const auto action = subcommand(*inner, *rest);
            if (!action) {
                return tl::unexpected(
                    mistake(first, fmt::format("there is no '{} {}'{}", first, *rest, action.error())));
            }
            inner = *action;
            ++rest;
        }
        auto words = in_one_spelling(*inner, {rest, arguments.end()});
        if (!words) return tl::unexpected(mistake(first, words.error()));
        words->insert(words->begin(), arguments.begin(), rest);
        return *words;
    }

    // The subcommand of that name; if there is none, a hint at what may have been meant.
    static tl::expected<const CLI::App*, std::string> subcommand(const CLI::App& of, const std::string& name) {
        std::vector<std::string> names;
        for (const CLI::App* each : of.get_subcommands({})) {
            names.push_back(each->get_name());
            if (names.back() == name) return each;
        }
        const std::string near = nearest(name, names);
        return tl::unexpected(near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
    }

    // What concerns several options at once.
    tl::expected<Options, ParseEnd> finish(const std::string& command) {
        const auto wrong = [&](std::string_view what) { return tl::unexpected(mistake(command, what)); };
        if (refused_ != nullptr) {
            return wrong(fmt::format("{} is not available in this version, which has no {} yet", spelling_of(*refused_),
                                     refused_->what));
        }
        set_usual_firmware();
        if (const std::string why = what_is_wrong_together(options_); !why.empty()) return wrong(why);
        if (const std::string why = what_is_wrong_with_replay(); !why.empty()) return wrong(why);
        if (const std::string why = what_is_wrong_with_files(options_); !why.empty()) return wrong(why);
        return options_;
    }
    // A drive without a kernel: the machine starts with its BIOS, as QEMU's does.
    void set_usual_firmware() {
        boot::BootConfig& boot = options_.guest.boot;
        if (boot.kernel.empty() && boot.firmware.empty() && options_.guest.drives.any()) {
            boot.firmware = boot::kDefaultFirmware;
        }
    }
    // Cases that were kept are as they are.
    std::string what_is_wrong_with_replay() const {
        if (options_.fuzz.replay.empty()) return "";
        for (const char* name :
             {"--cases", "--seed", "--minutes", "--only", "--jobs", "--regressions", "--coverage", "--json"}) {
            if (app_.get_subcommand("fuzz")->count(name) != 0) {
                return fmt::format(
                    "{} goes with cases that are made: those of a FILE are run again, and told of as text", name);
            }
        }
        return "";
    }
    static std::string spelling_of(const Refused& refused) {
        const std::string name = refused.name;
        return name.starts_with("--") ? name.substr(1) : name;
    }

    // --- making options ----------------------------------------------------------------------------------------

    CLI::App& add(Command command, const char* name) {
        CLI::App* sub = app_.add_subcommand(name, description(command));
        sub->set_help_flag("-h,--help", "This text");
        sub->footer(footer(command));
        sub->group("Commands");
        sub->callback([this, command] { options_.command = command; });
        return *sub;
    }

    static void value(CLI::App& to, const char* names, const char* value_name, const char* text, const char* group,
                      const OnValue& on_value) {
        to.add_option_function<std::string>(names, on_value, text)->option_text(value_name)->group(group);
    }
    static void flag(CLI::App& to, const char* names, const char* text, const char* group, std::function<void()> on) {
        to.add_flag_callback(names, std::move(on), text)->group(group)->disable_flag_override();
    }

    // Turns a refused value into CLI11's kind of error.
    template <class T>
    static T checked(const char* name, Parsed<T> parsed) {
        if (!parsed) throw CLI::ValidationError(name, parsed.error());
        return *parsed;
    }
    // The value that goes by the name `text`.
    template <class T>
    static T choice(const char* name, const std::string& text, const std::vector<std::pair<const char*, T>>& known) {
        std::string list;
        for (const auto& [word, result] : known) {
            if (text == word) return result;
            list += (list.empty() ? "" : &word == &known.back().first ? " or " : ", ") + std::string(word);
        }
        throw CLI::ValidationError(name, fmt::format("'{}' is not one of {}", text, list));
    }
    static const std::string& name_of_file(const char* option, const std::string& text) {
        if (text.empty()) throw CLI::ValidationError(option, "the name of the file is empty");
        return text;
    }
    static unsigned repeat(const std::string& text) {
        const u64 n = checked("--repeat", parse_number(text));
        if (n == 0 || n > 1000) throw CLI::ValidationError("--repeat", fmt::format("{} is not in 1 to 1000", text));
        return static_cast<unsigned>(n);
    }

    // kHidden are the drives of a command that refuses them, in words of its own.
    void add_guest(CLI::App& to, const char* drives = kGuest) {
        const char* group = kGuest;
        value(to, "--kernel", "FILE", "The guest: Multiboot, PVH, Linux bzImage or boot sector", group,
              [this](const std::string& text) { options_.guest.boot.kernel = name_of_file("-kernel", text); });
        value(to, "--initrd", "FILE[,FILE]", "Initial RAM disk, or Multiboot modules", group,
              [this](const std::string& text) {
                  options_.guest.boot.initrd = boot::split_initrd(name_of_file("-initrd", text));
              });
        value(to, "--append", "TEXT", "The guest's command line", group,
              [this](const std::string& text) { options_.guest.boot.append = text; });
        value(to, "-m,--memory", "SIZE", "Memory in MiB, or as 512M, 1G (default: 128)", group,
              [this](const std::string& text) {
                  options_.guest.memory_mebibytes = checked("-m", parse_memory_size(text));
              });
        value(to, "--protocol", "NAME", "auto, multiboot, linux32, linux64, pvh or sector", group,
              [this](const std::string& text) {
                  auto protocol = boot::protocol_from_name(text);
                  if (!protocol) throw CLI::ValidationError("--protocol", protocol.error().text);
                  options_.guest.boot.protocol = *protocol;
              });
        flag(to, "--no-reboot", "A reset by the guest ends the run", group, [this] { options_.guest.reboot = false; });
        value(to, "--triple-fault", "WHAT", "stop (status 8, the default) or reset, as a PC", group, [this](auto& t) {
            options_.guest.triple_fault_resets = choice<bool>("--triple-fault", t, {{"stop", false}, {"reset", true}});
        });
        value(to, "--bios", "FILE", "Firmware, for a guest without -kernel (default: SeaBIOS)", group,
              [this](const std::string& text) { options_.guest.boot.firmware = name_of_file("-bios", text); });
        add_drives(to, drives);
        value(to, "--boot", "ORDER", "Letters a, c, d, n, or order=,once=,menu=: see below", group,
              [this](const std::string& text) { options_.guest.order = checked("-boot", parse_boot_order(text)); });
        flag(to, "--no-acpi", "A machine without ACPI", group, [this] { options_.guest.acpi = false; });
        flag(to, "--nographic", "Firmware writes to the serial port as well", group,
             [this] { options_.guest.graphic = false; });
        for (const Refused& refused : kRefused) {
            if (refused.takes_value) {
                value(to, refused.name, "", "", kHidden, [this, &refused](const std::string&) { refused_ = &refused; });
            } else {
                flag(to, refused.name, "", kHidden, [this, &refused] { refused_ = &refused; });
            }
        }
    }

    void add_engine(CLI::App& to, bool one) {
        const char* group = "The engine";
        if (one) {
            value(to, "--engine", "NAME", "interp, kvm or auto (the default)", group, [this](const std::string& text) {
                options_.engine.engine = choice<EngineName>(
                    "--engine", text,
                    {{"interp", EngineName::Interp}, {"kvm", EngineName::Kvm}, {"auto", EngineName::Auto}});
            });
            value(to, "--clock", "KIND", "virtual (instructions) or host (time): see below", group,
                  [this](const std::string& text) {
                      options_.engine.clock = choice<ClockKind>(
                          "--clock", text, {{"virtual", ClockKind::Virtual}, {"host", ClockKind::Host}});
                  });
        }
        add_no_opt(to, group);
        value(to, "--assist", "WHAT", "What interp does under kvm: off, instruction, kernel or auto", group,
              [this](const std::string& text) {
                  options_.engine.assist = choice<Assist>("--assist", text,
                                                          {{"off", Assist::Off},
                                                           {"instruction", Assist::Instruction},
                                                           {"kernel", Assist::Kernel},
                                                           {"auto", Assist::Auto}});
              });
        value(
            to, "--patience", "N", "With --assist=kernel, instructions of a program to interpret first", group,
            [this](const std::string& text) { options_.engine.patience = checked("--patience", parse_number(text)); });
        flag(to, "--no-rescue", "The same as --assist=off", group, [this] { options_.engine.assist = Assist::Off; });
        add_kvm_device(to);
    }

    void add_switching(CLI::App& to) {
        // Each time that it is given: they come one after the other.
        to.add_option_function<std::string>(
              "--switch",
              [this](const std::string& text) {
                  if (auto added = add_switch(options_.engine.switching, text); !added) {
                      throw CLI::ValidationError("--switch", added.error());
                  }
              },
              "When to hand the guest to which engine, or repeat: see below")
            ->trigger_on_parse()
            ->option_text("COND,to=NAME")
            ->group("The engine");
    }

    void add_no_opt(CLI::App& to, const char* group) {
        // Each time that it is given.
        to.add_option_function<std::string>(
              "--no-opt", [this](const std::string& text) { leave_out(text); },
              "Under interp, optimisations to leave out: see below")
            ->trigger_on_parse()
            ->option_text("LIST")
            ->group(group);
    }

    void add_kvm_device(CLI::App& to) {
        value(to, "--kvm-device", "PATH", "KVM's device (default: /dev/kvm)", "The engine",
              [this](const std::string& text) { options_.engine.kvm_device = name_of_file("--kvm-device", text); });
    }

    void add_limits(CLI::App& to) {
        value(to, "--max-insns", "N", "End after exactly N instructions", "Limits", [this](const std::string& text) {
            options_.engine.limits.max_instructions = checked("--max-insns", parse_number(text));
        });
        value(to, "--timeout", "SECONDS", "End after that much time", "Limits", [this](const std::string& text) {
            options_.engine.limits.timeout = checked("--timeout", parse_seconds(text));
        });
    }

    void add_console(CLI::App& to) {
        value(to, "--serial", "WHERE", "stdio (the default), none or file:PATH", "Input and output",
              [this](const std::string& text) { set_serial(text); });
        // Each time that it is given: several may be wanted.
        to.add_option_function<std::string>(
              "--screen", [this](const std::string& text) { set_screen(text); },
              "live, text or png:FILE (as it was at the end), or none: see below")
            ->trigger_on_parse()
            ->option_text("WHAT")
            ->group("Input and output");
        value(to, "--sendkeys", "TEXT", "Keys to press, or @FILE with them: see below", "Input and output",
              [this](const std::string& text) { options_.sendkeys = text; });
    }
    void set_screen(const std::string& text) {
        constexpr std::string_view kPng = "png:";
        if (options_.live == LiveChoice::WhereUsual) options_.live = LiveChoice::No;
        if (text == "live") {
            options_.live = LiveChoice::Yes;
        } else if (text == "none") {
            options_.live = LiveChoice::No;
        } else if (text == "text") {
            options_.screen.text = true;
        } else if (text.starts_with(kPng) && text.size() > kPng.size()) {
            if (!options_.screen.png_path.empty()) throw CLI::ValidationError("--screen", "there can be one png:FILE");
            options_.screen.png_path = text.substr(kPng.size());
        } else {
            throw CLI::ValidationError("--screen", fmt::format("'{}' is not one of live, text, png:FILE, none", text));
        }
    }
    void set_serial(const std::string& text) {
        constexpr std::string_view kFile = "file:";
        options_.serial_chosen = true;
        if (text == "stdio" || text == "mon:stdio") {
            options_.serial = SerialKind::Stdio;
        } else if (text == "none" || text == "null") {
            options_.serial = SerialKind::None;
        } else if (text.starts_with(kFile) && text.size() > kFile.size()) {
            options_.serial = SerialKind::File;
            options_.serial_path = text.substr(kFile.size());
        } else {
            throw CLI::ValidationError("-serial", fmt::format("'{}' is not one of stdio, none or file:PATH", text));
        }
    }

    void add_reports(CLI::App& to) {
        flag(to, "--stats", "Instructions, time, exits and more, on standard error", "Report",
             [this] { options_.statistics = true; });
        add_json(to);
        value(to, "-d", "LIST", "Log: boot, exits, int, cpu, firmware (with commas)", "Report",
              [this](const std::string& text) { set_log(text); });
        value(to, "-D", "FILE", "The log goes there, not to standard error", "Report",
              [this](const std::string& text) { options_.log.path = name_of_file("-D", text); });
    }
    void leave_out(const std::string& list) {
        std::vector<std::pair<const char*, const char*>> names;
        for (const InterpreterOptimisation& each : interpreter_optimisations())
            names.emplace_back(each.name, each.name);
        for (const std::string& word : comma_separated(list)) {
            options_.engine.without.emplace_back(choice<const char*>("--no-opt", word, names));
        }
    }
    void set_log(const std::string& list) {
        LogOptions& log = options_.log;
        for (const std::string& word : comma_separated(list)) {
            *choice<bool*>("-d", word,
                           {{"boot", &log.boot},
                            {"exits", &log.exits},
                            {"int", &log.interrupts},
                            {"cpu", &log.registers},
                            {"firmware", &log.firmware}}) = true;
        }
    }

    void add_json(CLI::App& to) {
        json_paths_.push_back(std::make_unique<std::string>());
        std::string& path = *json_paths_.back();
        to.add_flag("--json{/dev/stderr}", path, "The result as JSON, to FILE, - (standard output) or standard error")
            ->option_text("[=FILE]")
            ->group("Report")
            ->each([this](const std::string& text) { set_json(text); });
    }
    void set_json(const std::string& text) {
        using To = JsonOptions::To;
        options_.json.path = text;
        options_.json.to = text == "/dev/stderr" ? To::StandardError : text == "-" ? To::StandardOutput : To::File;
    }

    void add_syntax(CLI::App& to, const char* group) {
        value(to, "--syntax", "NAME", "intel (the default) or att", group, [this](const std::string& text) {
            options_.syntax = options_.trace.syntax =
                choice<study::Syntax>("--syntax", text, {{"intel", study::Syntax::Intel}, {"att", study::Syntax::Att}});
        });
        value(to, "-o,--output", "FILE", "Write there, not to standard output", group,
              [this](const std::string& text) { options_.output_path = name_of_file("-o", text); });
    }

    void add_trace(CLI::App& to) {
        const char* group = "The trace";
        value(to, "--from", "N", "Begin after N instructions", group,
              [this](const std::string& text) { options_.trace.skip = checked("--from", parse_number(text)); });
        value(to, "--from-rip", "ADDRESS", "Begin where RIP is ADDRESS", group,
              [this](const std::string& text) { options_.trace.from_rip = checked("--from-rip", parse_number(text)); });
        value(to, "--count", "N", "Instructions to print (default: 1000)", group,
              [this](const std::string& text) { options_.trace.count = checked("--count", parse_number(text)); });
        flag(to, "--no-registers", "Instructions only", group, [this] { options_.trace.registers = false; });
        add_syntax(to, group);
    }

    void add_disasm(CLI::App& to) {
        DisasmOptions& d = options_.disasm;
        const char* group = "Options";
        to.add_option("FILE", d.file, "A guest, or with --raw any file");
        value(to, "--bytes", "HEX", "Disassemble these bytes, like \"0f a2\"", group,
              [&d](const std::string& text) { d.bytes = checked("--bytes", parse_hex_bytes(text)); });
        value(to, "--mode", "BITS", "16, 32 or 64 (default: the guest's; else 64)", group,
              [&d](const std::string& text) {
                  d.mode = choice<CpuMode>(
                      "--mode", text, {{"16", CpuMode::Real}, {"32", CpuMode::Protected32}, {"64", CpuMode::Long64}});
              });
        value(to, "--base", "ADDRESS", "Where the first byte of --raw or --bytes lies", group,
              [&d](const std::string& text) { d.base = checked("--base", parse_number(text)); });
        value(to, "--start", "ADDRESS", "Begin at this address", group,
              [&d](const std::string& text) { d.start = checked("--start", parse_number(text)); });
        value(to, "--count", "N", "Instructions to print (default: 40 of a guest, else all)", group,
              [&d](const std::string& text) { d.count = checked("--count", parse_number(text)); });
        flag(to, "--raw", "FILE is machine code and nothing else", group, [&d] { d.raw = true; });
        value(to, "-m,--memory", "SIZE", "Memory to load the guest into (default: 128)", group,
              [this](const std::string& text) {
                  options_.guest.memory_mebibytes = checked("-m", parse_memory_size(text));
              });
        add_syntax(to, group);
    }

    void add_fuzz(CLI::App& to) {
        FuzzCommandOptions& f = options_.fuzz;
        const char* group = "Cases";
        to.add_option("FILE", f.replay, "Cases that were kept: run these again");
        value(to, "--cases", "N", "So many (default: 100000, or as many as --minutes allows)", group,
              [&f](const std::string& text) { f.cases = checked("--cases", parse_number(text)); });
        value(to, "--seed", "S", "Other cases for each number (default: 1)", group,
              [&f](const std::string& text) { f.seed = checked("--seed", parse_number(text)); });
        value(to, "--minutes", "M", "End after that much time", group, [&f](const std::string& text) {
            f.minutes = static_cast<double>(checked("--minutes", parse_seconds(text))) / 1e9;
        });
        value(to, "--only", "NAME[,NAME]", "Of these instructions only: add,fsqrt", group,
              [&f](const std::string& text) { f.only = comma_separated(text); });
        value(to, "--oracle", "NAME", "native (the default) or kvm: who is right", "Oracle",
              [&f](const std::string& text) {
                  f.kvm = choice<bool>("--oracle", text, {{"native", false}, {"kvm", true}});
              });
        value(to, "--jobs", "J", "Threads (default: 1)", "Oracle", [&f](const std::string& text) {
            const u64 jobs = checked("--jobs", parse_number(text));
            if (jobs == 0 || jobs > 256)
                throw CLI::ValidationError("--jobs", fmt::format("{} is not in 1 to 256", text));
            f.jobs = static_cast<unsigned>(jobs);
        });
        add_no_opt(to, "Oracle");
        add_kvm_device(to);
        value(to, "--regressions", "FOLDER", "Keep what is found there, a file each", "Report",
              [&f](const std::string& text) { f.regressions = name_of_file("--regressions", text); });
        value(to, "--coverage", "FILE", "How many cases each instruction form had, as JSON", "Report",
              [&f](const std::string& text) { f.coverage = name_of_file("--coverage", text); });
        add_json(to);
    }
    void add_color(CLI::App& to) {
        value(to, "--color", "WHEN", "auto (the default), always or never", "Options", [this](const std::string& text) {
            options_.color = choice<ColorChoice>(
                "--color", text,
                {{"auto", ColorChoice::Auto}, {"always", ColorChoice::Always}, {"never", ColorChoice::Never}});
        });
    }

    CLI::App app_;
    Options options_;
    const Refused* refused_ = nullptr;
    std::vector<std::unique_ptr<std::string>> json_paths_;  // where CLI11 puts what set_json() is told
};

}  // namespace

bool takes_part(const EngineOptions& options, EngineName engine) {
    const char* name = engine == EngineName::Kvm ? "kvm" : "interp";
    const auto& rules = options.switching.rules;
    return options.engine == engine ||
           std::any_of(rules.begin(), rules.end(), [&](const study::SwitchRule& rule) { return rule.to == name; });
}

tl::expected<Options, ParseEnd> parse_command_line(const std::vector<std::string>& arguments) {
    return Parser().parse(arguments);
}

}  // namespace dualvm::app
