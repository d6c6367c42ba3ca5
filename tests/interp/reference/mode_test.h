// The test fixture for modes in which the host cannot be asked: a CPU in real mode, to begin with.
#pragma once

#include <gtest/gtest.h>

#include "test_cpu.h"

namespace dualvm::interp {

class ModeTest : public ::testing::Test {
protected:
    using Bytes = std::initializer_list<u8>;

    Flow run(Bytes insn) { return cpu_.run_once(std::vector<u8>(insn)); }

    // The instruction faults with `vector` (and error code 0, if it has one), and registers are as before.
    void expect_fault_without_effect(Bytes insn, Vector vector) {
        const CpuFile before = cpu_.state().cpu;
        EXPECT_EQ(run(insn), Flow::Fault);
        EXPECT_EQ(cpu_.state().fault.vector, vector);
        EXPECT_EQ(cpu_.state().fault.error_code, 0u);
        EXPECT_EQ(differences(cpu_.state().cpu, before, Groups::All), "");
    }

    TestCpu cpu_;
};

}  // namespace dualvm::interp
