// The runners that these tests use.
#pragma once

#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/kvm/kvm_engine.h"
#include "dualvm/study/engine_runner.h"
#include "dualvm/study/native_cpu.h"

namespace dualvm::study {

using MadeRunner = Expected<std::unique_ptr<Runner>>;

template <class R>
MadeRunner as_runner(Expected<std::unique_ptr<R>> made) {
    if (!made) return tl::unexpected(made.error());
    return std::unique_ptr<Runner>(std::move(*made));
}

inline MadeRunner native() { return as_runner(NativeCpu::create()); }

inline MadeRunner kvm() {
    return as_runner(EngineRunner::create("kvm", [](Machine& machine) { return make_kvm_engine(machine, {}); }));
}

inline MadeRunner interpreter(std::vector<std::string> without = {}) {
    return as_runner(EngineRunner::create("interp", [&](Machine& machine) -> Expected<std::unique_ptr<Engine>> {
        InterpreterOptions options;
        options.without = without;
        return make_interpreter(machine, options);
    }));
}

// A case of these bytes, with the stack in the window.
inline Case case_of(std::vector<u8> code, CpuMode mode = CpuMode::Long64) {
    Case c;
    c.mode = mode;
    c.code = std::move(code);
    c.gpr[RSP] = ring3::kWindow + 0x800;
    c.fpu.fcw = 0x37f;
    c.fpu.ftw = 0;
    return c;
}

inline CaseResult run(Runner& runner, const Case& c) {
    CaseResult result;
    runner.run(c, result);
    return result;
}

}  // namespace dualvm::study
