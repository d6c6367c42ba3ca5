// What the command line says, as values. parse_command_line() is the only place that knows how it is spelled.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dualvm/boot/boot.h"
#include "dualvm/run_loop.h"
#include "dualvm/study/switching.h"
#include "dualvm/study/trace.h"
#include "img_options.h"
#include "values.h"

namespace dualvm::app {

enum class Command : u8 { Run, Compare, Probe, Trace, Disasm, Fuzz, Img };
enum class EngineName : u8 { Auto, Interp, Kvm };
enum class ColorChoice : u8 { Auto, Always, Never };
enum class SerialKind : u8 { Stdio, None, File };
enum class LiveChoice : u8 { WhereUsual, Yes, No };

// Paths of images; empty: no such drive.
struct DriveOptions {
    std::array<std::string, 4> disks;  // -hda to -hdd
    std::string cdrom;                 // in -hdc's place
    std::array<std::string, 2> floppies;
    bool any() const {
        const auto given = [](const std::string& path) { return !path.empty(); };
        return std::any_of(disks.begin(), disks.end(), given) || given(cdrom) ||
               std::any_of(floppies.begin(), floppies.end(), given);
    }
};

// The guest and its machine: run, compare and trace.
struct GuestOptions {
    boot::BootConfig boot;
    DriveOptions drives;
    u64 memory_mebibytes = 128;
    bool reboot = true;  // a guest's reset starts it again
    bool triple_fault_resets = false;
    bool acpi = true;
    bool graphic = true;  // false: firmware writes to the serial port as well
    BootOrder order;
};

// What the interpreter does under --engine=kvm: nothing, the instructions that KVM cannot, all but 64-bit programs.
enum class Assist : u8 { Auto, Off, Instruction, Kernel };

struct EngineOptions {
    EngineName engine = EngineName::Auto;
    Assist assist = Assist::Auto;
    std::optional<u64> patience;       // instructions of a program that Assist::Kernel interprets first
    std::vector<std::string> without;  // optimisations of the interpreter that are left out
    std::string kvm_device = "/dev/kvm";
    std::optional<ClockKind> clock;  // not said: virtual where the engine can drive it
    bool dirty_log = true;           // whoever tells of dirty pages asks for it
    bool ready_made = false;         // nothing is left to be made while the guest runs: for who compares times
    RunLimits limits;
    study::SwitchPlan switching;  // --switch; no rules: one engine has the guest from beginning to end
};

// Whether the guest is that engine's at any time, as far as it is known before `auto` has been made another.
bool takes_part(const EngineOptions& options, EngineName engine);

// Where a report as JSON goes: nowhere, standard error, standard output, a file.
struct JsonOptions {
    enum class To : u8 { Nowhere, StandardError, StandardOutput, File } to = To::Nowhere;
    std::string path;
};

struct LogOptions {  // -d, -D
    bool boot = false, exits = false, interrupts = false, registers = false, firmware = false;
    std::string path;  // empty: standard error
    bool any() const { return boot || exits || interrupts || registers || firmware; }
};

struct DisasmOptions {
    std::string file;
    std::vector<u8> bytes;  // from the command line, instead of a file
    std::optional<CpuMode> mode;
    std::optional<u64> base, start;
    std::optional<u64> count;  // not said: to the end of bytes or a flat file, 40 instructions of a guest
    bool raw = false;
};

struct FuzzCommandOptions {
    bool kvm = false;          // the oracle; else the host's CPU in a child process
    std::optional<u64> cases;  // not said: 100,000, or as many as --minutes allows
    u64 seed = 1;
    std::optional<double> minutes;
    unsigned jobs = 1;
    std::vector<std::string> only;
    std::string coverage, regressions;  // a file, a folder to write to
    std::vector<std::string> replay;    // files with cases, instead of generated ones
};

struct ScreenOptions {  // --screen
    bool text = false;
    std::string png_path;  // empty: no picture
};

struct Options {
    Command command = Command::Run;
    GuestOptions guest;
    EngineOptions engine;
    JsonOptions json;
    LogOptions log;
    ColorChoice color = ColorChoice::Auto;
    SerialKind serial = SerialKind::Stdio;
    std::string serial_path;
    bool serial_chosen = false;  // by the user
    bool statistics = false;
    ScreenOptions screen;
    LiveChoice live = LiveChoice::WhereUsual;
    std::string sendkeys;  // a script, or @ and the name of a file with one
    unsigned repeat = 1;
    study::TraceOptions trace;
    std::string output_path;  // -o; empty: standard output
    study::Syntax syntax = study::Syntax::Intel;
    DisasmOptions disasm;
    FuzzCommandOptions fuzz;
    ImgOptions img;
};

// Why there is nothing to do: help or version to print, or a mistake to explain.
struct ParseEnd {
    int status = 0;
    std::string text;  // for standard output if status is 0, else for standard error
};

tl::expected<Options, ParseEnd> parse_command_line(const std::vector<std::string>& arguments);

}  // namespace dualvm::app
