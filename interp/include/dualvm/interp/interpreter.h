// The interpreting engine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dualvm/machine.h"

namespace dualvm {

struct InterpreterOptions {
    // Host memory for decoded blocks; when it is full, all of it is forgotten and filled again.
    u64 block_cache_bytes = u64{32} << 20;
    // Optimisations to leave out, by name: see interpreter_optimisations().
    std::vector<std::string> without{};
    // The time stamp counter is the host's own, as it is for guest code that the CPU runs beside this engine. Else it
    // counts nanoseconds of the machine's clock.
    bool host_tsc = false;
};

// What InterpreterOptions::without can name, in the order in which the book explains them.
struct InterpreterOptimisation {
    const char* name;
    const char* what;  // one line for people
};
const std::vector<InterpreterOptimisation>& interpreter_optimisations();

std::unique_ptr<Engine> make_interpreter(Machine& machine, const InterpreterOptions& options = {});

}  // namespace dualvm
