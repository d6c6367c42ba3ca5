#include "option_conflicts.h"

#include "switch_option.h"

namespace dualvm::app {

namespace {

bool boots_a_guest(Command command) {
    return command == Command::Run || command == Command::Compare || command == Command::Trace;
}

std::string wrong_with_guest(const Options& options) {
    const boot::BootConfig& boot = options.guest.boot;
    const DriveOptions& drives = options.guest.drives;
    if (!drives.cdrom.empty() && !drives.disks[2].empty()) {
        return "-cdrom is the drive in -hdc's place: give one of them";
    }
    if (options.command == Command::Compare && drives.any()) {
        return "the second run would find the disks as the first has left them: compare is for guests without";
    }
    if (boot.kernel.empty() && boot.firmware.empty()) return "no guest: -kernel FILE names one";
    if (!boot.kernel.empty() && !boot.firmware.empty()) {
        return "-kernel starts a kernel without firmware, and -bios is firmware: give one of them";
    }
    if (boot.kernel.empty() && (!boot.append.empty() || !boot.initrd.empty())) {
        return "-append and -initrd go with -kernel";
    }
    return "";
}

std::string wrong_with_engine(const Options& options) {
    const EngineOptions& engine = options.engine;
    if (std::string why = what_is_wrong_with(engine.switching); !why.empty()) return why;
    // Where nothing is said, compare has KVM run the kernel as well.
    const bool kernel_may_be_assisted =
        engine.assist == Assist::Kernel || (engine.assist == Assist::Auto && options.command != Command::Compare);
    if (engine.patience && !kernel_may_be_assisted) {
        return "--patience is about programs that --assist=kernel hands over: give it with that, or leave it out";
    }
    if (!takes_part(engine, EngineName::Kvm)) return "";
    if (engine.clock == ClockKind::Virtual) {
        return "--clock=virtual counts instructions, which the engine kvm cannot: leave all to interp";
    }
    if (engine.limits.max_instructions != kUnlimited) {
        return "--max-insns needs an engine that counts instructions: leave all to interp, or use --timeout";
    }
    if (options.command == Command::Trace && options.trace.skip != 0) {
        return "--from needs an engine that counts instructions: use --engine=interp, or --from-rip";
    }
    return "";
}

}  // namespace

std::string what_is_wrong_together(const Options& options) {
    if (boots_a_guest(options.command)) {
        if (std::string why = wrong_with_guest(options); !why.empty()) return why;
        if (std::string why = wrong_with_engine(options); !why.empty()) return why;
    }
    if (!options.log.path.empty() && !options.log.any()) return "-D FILE needs -d LIST: what to log";
    const DisasmOptions& disasm = options.disasm;
    if (options.command == Command::Disasm && disasm.file.empty() == disasm.bytes.empty()) {
        return "one of FILE and --bytes is needed";
    }
    return options.command == Command::Img ? what_is_wrong_with(options.img) : "";
}

}  // namespace dualvm::app
