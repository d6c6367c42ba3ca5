// The interpreter in the same LDT segments: a machine whose kernel is 32 HLTs.
#pragma once

#include "dualvm/machine.h"
#include "segment_case.h"

namespace dualvm::segments {

class InterpreterLdt {
public:
    // Without these optimisations, by name.
    explicit InterpreterLdt(std::vector<std::string> without);

    void run(const SegmentCase& c, Result& result);

private:
    void lay_out();

    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Engine> engine_;
    CpuFile kernel_;
};

}  // namespace dualvm::segments
