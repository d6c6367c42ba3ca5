// Engines by name, and which of them is best for this host.
#pragma once

#include <memory>
#include <string>

#include "dualvm/machine.h"
#include "options.h"

namespace dualvm::app {

const char* to_string(EngineName engine);

struct EngineChoice {
    EngineName engine = EngineName::Interp;  // never Auto
    ClockKind clock = ClockKind::Virtual;
    std::string why;  // empty if the user chose
};

// Makes `auto` one of the others. A user's own choice is taken as it is.
EngineChoice choose_engine(const Options& options);

const char* to_string(Assist assist);

struct AssistChoice {
    Assist assist = Assist::Off;  // never Auto
    std::string limit{};          // what is not as it should be then; empty if nothing
    std::string why{};            // empty if the user chose, or if it is nothing to speak of
};

// Makes --assist=auto one of the others.
AssistChoice choose_assist(const EngineOptions& options);

// The same with how a run can do without, if `error` is that there is no KVM.
Error with_way_out(Error error, const EngineOptions& options);

// An Error of status EngineUnavailable if this host lacks it.
Expected<std::unique_ptr<Engine>> make_engine(Machine& machine, EngineName engine, const EngineOptions& options);

// Those that options.switching names, and `first`, which begins. Where KVM is to take over the kernel, the machine's
// CPU is made one without what this host's KVM could not go on with.
Expected<std::unique_ptr<Engine>> make_switching_engine(Machine& machine, EngineName first,
                                                        const EngineOptions& options);

}  // namespace dualvm::app
