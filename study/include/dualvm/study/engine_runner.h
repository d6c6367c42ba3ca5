// Any engine as a runner: a machine that is just the world of a case, with a kernel of a few instructions.
//
// The kernel enters the case with IRETQ, and behind each of its exception vectors stands HLT: so an engine needs to
// know nothing of cases, and whichever it is, it comes back with what its CPU would have given the kernel.
#pragma once

#include <functional>
#include <memory>

#include "dualvm/machine.h"
#include "dualvm/study/ring3_case.h"

namespace dualvm::study {

// Makes an engine on a machine that is ready to run; a failure is about the host.
using MakeEngine = std::function<Expected<std::unique_ptr<Engine>>(Machine&)>;

class EngineRunner final : public Runner {
public:
    static Expected<std::unique_ptr<EngineRunner>> create(std::string name, const MakeEngine& make);

    const char* name() const override { return name_.c_str(); }
    // Engines that emulate everything can run both. One that lets the CPU run guest code is an oracle only where it
    // does: where the host's kernel emulates ring 3, too, there is nothing to learn about the CPU.
    bool can_run(CpuMode mode) const override;
    Distrust distrust() const override { return distrust_; }
    void run(const Case& c, CaseResult& result) override;

private:
    EngineRunner() = default;
    void find_distrust();
    void enter(const Case& c);
    void read_result(CaseResult& result);
    void lost(CaseResult& result, std::string text);

    std::string name_;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Engine> engine_;
    Distrust distrust_;
    bool direct_ = false;         // lets the CPU run guest code
    bool must_restore_ = true;    // the CPU is not in the kernel's HLT
    FpuGroup fpu_;                // what the engine has at the moment
    u64 code_bytes_ = kPageSize;  // of the last case, from code_offset_ on
    u64 code_offset_ = 0;
    CpuFile kernel_;  // the CPU as the kernel has it
};

}  // namespace dualvm::study
