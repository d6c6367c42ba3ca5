#include "engines.h"

#include <fmt/format.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/kvm/kvm_engine.h"

namespace dualvm::app {

namespace {

constexpr u32 bit(CpuMode mode) { return 1u << static_cast<unsigned>(mode); }
constexpr u32 kKernelModes = bit(CpuMode::Real) | bit(CpuMode::Protected32) | bit(CpuMode::Long64);

// Why a run needs an engine that counts instructions; nothing if it doesn't.
const char* needs_counting(const Options& options) {
    if (options.engine.limits.max_instructions != kUnlimited) return "--max-insns counts instructions";
    if (options.engine.clock == ClockKind::Virtual) return "--clock=virtual counts instructions";
    if (options.command == Command::Trace) return "it steps through everything";
    return nullptr;
}

// What is wrong with KVM here; empty if it runs a guest's kernel as well as its programs on the CPU itself.
std::string drawback_of_kvm(const EngineOptions& options) {
    constexpr const char* kProgramsAlone =
        "this host's KVM runs only user-mode code directly (--engine=kvm takes it nevertheless)";
    if (runs_programs_alone(options.kvm_device)) return kProgramsAlone;  // the usual case, and soon answered
    auto machine = Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Host});
    if (!machine) return machine.error().text;
    EngineOptions bare = options;
    bare.assist = Assist::Off;
    auto engine = make_engine(**machine, EngineName::Kvm, bare);
    if (!engine) return engine.error().text;
    const TriedCapabilities can = (*engine)->tried_capabilities();
    if ((can.direct_modes_ring0 & kKernelModes) == kKernelModes) return {};
    if ((can.direct_modes_ring3 & kKernelModes) != 0) return kProgramsAlone;
    return "this host's KVM emulates (--engine=kvm takes it nevertheless)";
}

}  // namespace

const char* to_string(EngineName engine) {
    switch (engine) {
        case EngineName::Auto: return "auto";
        case EngineName::Interp: return "interp";
        case EngineName::Kvm: return "kvm";
    }
    return "?";
}

EngineChoice choose_engine(const Options& options) {
    EngineChoice choice;
    choice.engine = options.engine.engine;
    if (choice.engine == EngineName::Auto) {
        if (const char* why = needs_counting(options)) {
            choice.engine = EngineName::Interp;
            choice.why = why;
        } else if (const std::string drawback = drawback_of_kvm(options.engine); !drawback.empty()) {
            choice.engine = EngineName::Interp;
            choice.why = drawback;
        } else {
            choice.engine = EngineName::Kvm;
            choice.why = "this host's CPU runs all guest code directly";
        }
    }
    const bool kvm = choice.engine == EngineName::Kvm || takes_part(options.engine, EngineName::Kvm);
    const ClockKind usual = kvm ? ClockKind::Host : ClockKind::Virtual;
    choice.clock = options.engine.clock.value_or(usual);
    return choice;
}

const char* to_string(Assist assist) {
    switch (assist) {
        case Assist::Auto: return "auto";
        case Assist::Off: return "off";
        case Assist::Instruction: return "instruction";
        case Assist::Kernel: return "kernel";
    }
    return "?";
}

AssistChoice choose_assist(const EngineOptions& options) {
    constexpr const char* kLimit = "programs on the CPU see its CPUID and time stamp counter";
    if (options.assist == Assist::Kernel && runs_programs_alone(options.kvm_device)) {
        return {.assist = Assist::Kernel, .limit = kLimit};
    }
    if (options.assist != Assist::Auto) return {.assist = options.assist};
    // Whoever says when the guest changes engines wants it to be one engine's at a time.
    if (!options.switching.rules.empty()) return {.assist = Assist::Instruction};
    if (runs_programs_alone(options.kvm_device)) {
        return {.assist = Assist::Kernel,
                .limit = kLimit,
                .why = "this host's KVM runs 64-bit programs directly, and nothing else: the rest is interpreted"};
    }
    return {.assist = Assist::Instruction};
}

Error with_way_out(Error error, const EngineOptions& options) {
    if (error.status != ExitStatus::EngineUnavailable) return error;
    const bool wanted = options.engine == EngineName::Kvm;
    error.text += wanted ? "; run with --engine=interp" : "; leave out the --switch to kvm";
    return error;
}

Expected<std::unique_ptr<Engine>> make_engine(Machine& machine, EngineName engine, const EngineOptions& options) {
    if (engine != EngineName::Kvm) {
        // Beside KVM there is one time stamp counter: on some hosts KVM cannot give the guest another than the host's.
        const bool host_tsc = takes_part(options, EngineName::Kvm);
        return make_interpreter(machine, {.without = options.without, .host_tsc = host_tsc});
    }
    KvmOptions kvm;
    kvm.device = options.kvm_device;
    kvm.dirty_log = options.dirty_log;
    const Assist assist = choose_assist(options).assist;
    if (assist == Assist::Kernel) {
        auto kernel = make_interpreter(machine, {.without = options.without, .host_tsc = true});
        AssistedOptions assisted{
            .device = options.kvm_device, .dirty_log = options.dirty_log, .ready_made = options.ready_made};
        if (options.patience) assisted.patience = *options.patience;
        return make_assisted_engine(machine, std::move(kernel), assisted);
    }
    if (assist == Assist::Instruction) kvm.rescue = make_interpreter(machine, {.without = options.without});
    return make_kvm_engine(machine, std::move(kvm));
}

Expected<std::unique_ptr<Engine>> make_switching_engine(Machine& machine, EngineName first,
                                                        const EngineOptions& options) {
    EngineOptions known = options;
    known.engine = first;
    if (takes_part(known, EngineName::Kvm) && choose_assist(known).assist != Assist::Kernel) {
        const u64 refused = cr4_bits_refused_by_kvm(machine.cpu_model(), known.kvm_device);
        machine.set_cpu_model(machine.cpu_model().without_cr4_bits(refused));
    }
    std::vector<study::SwitchingEngine::Part> parts;
    for (const EngineName name : {first, first == EngineName::Kvm ? EngineName::Interp : EngineName::Kvm}) {
        if (!takes_part(known, name)) continue;
        auto engine = make_engine(machine, name, known);
        if (!engine) return tl::unexpected(engine.error());
        parts.push_back({to_string(name), std::move(*engine)});
    }
    auto made = study::SwitchingEngine::create(machine, std::move(parts), options.switching);
    if (!made) return fail(made.error().status, "--switch=" + made.error().text);
    return std::move(*made);
}

}  // namespace dualvm::app
