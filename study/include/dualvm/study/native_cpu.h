// The host CPU itself as a runner: the case runs in a child process of its own.
//
// The child has nothing to lose: no file but a socket to us, no system call but reading from and writing to it, and
// memory of its own. A case that hangs it is ended by killing it; one that crashes it costs a fork.
#pragma once

#include <memory>

#include "dualvm/study/ring3_case.h"

namespace dualvm::study {

class NativeCpu final : public Runner {
public:
    // An Error of status EngineUnavailable where the host does not give what it takes, or its CPU is no x86-64.
    static Expected<std::unique_ptr<NativeCpu>> create();
    ~NativeCpu() override;
    NativeCpu(const NativeCpu&) = delete;
    NativeCpu& operator=(const NativeCpu&) = delete;

    const char* name() const override { return "native"; }
    // 32-bit code where the kernel lets a 64-bit program jump to its 32-bit code segment.
    bool can_run(CpuMode mode) const override;
    Distrust distrust() const override { return distrust_; }
    void run(const Case& c, CaseResult& result) override;

    u64 children() const { return children_; }  // processes made so far

private:
    struct Shared;
    NativeCpu() = default;
    Expected<void> start();
    void stop();
    bool exchange();
    void find_distrust();

    Shared* shared_ = nullptr;
    int memory_ = -1;  // the file behind `shared_`
    int socket_ = -1, child_ = -1;
    u64 children_ = 0;
    bool runs32_ = false;
    Distrust distrust_;
};

}  // namespace dualvm::study
