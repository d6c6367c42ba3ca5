// The test fixture of random trials: reference implementation against host CPU.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "trial.h"

namespace dualvm::interp {

using Sizes = std::vector<unsigned>;
using Bytes = std::initializer_list<u8>;

class HostComparison : public ::testing::Test {
protected:
    explicit HostComparison(Bits bits) : bits_(bits), maker_(20, bits) {}

    void SetUp() override {
        host_ = HostCpu::get();
        if (host_ == nullptr) GTEST_SKIP() << "the addresses of the test's window are taken in this process";
        if (bits_ == Bits::Mode32 && !host_->can_run32())
            GTEST_SKIP() << "this kernel lets no 64-bit program run 32-bit code";
        cpu_.enter_user_program(bits_ == Bits::Mode64);
    }

    void check(const Form& form, unsigned trials = 600) {
        unsigned done = 0;
        for (unsigned i = 0; i < trials; ++i) {
            Trial trial;
            if (!maker_.make(form, trial)) continue;
            ++done;
            const std::string difference = compare(cpu_, *host_, trial, bits_);
            ASSERT_EQ(difference, "") << form.operands;
        }
        EXPECT_GT(done, trials / 4) << ZydisMnemonicGetString(form.mnemonic) << " " << form.operands;
    }
    void check_all(std::initializer_list<ZydisMnemonic> mnemonics, std::initializer_list<const char*> operands,
                   const Sizes& sizes) {
        for (ZydisMnemonic m : mnemonics) {
            for (const char* o : operands) check({m, o, sizes});
        }
    }
    // `prepare` may set registers.
    template <class Prepare>
    void check_raw(Bytes insn, unsigned trials, Prepare prepare) {
        for (unsigned i = 0; i < trials; ++i) {
            Trial trial;
            maker_.make_raw(std::vector<u8>(insn), trial);
            prepare(trial);
            ASSERT_EQ(compare(cpu_, *host_, trial, bits_), "");
        }
    }
    void check_raw(Bytes insn, unsigned trials = 300) {
        check_raw(insn, trials, [](Trial&) {});
    }

    Bits bits_;
    HostCpu* host_ = nullptr;
    TestCpu cpu_;
    TrialMaker maker_;
};

}  // namespace dualvm::interp
