// What CPUID does not advertise raises #UD, and what it does advertise does not: every encoding of the instruction
// catalogue is executed once, in ring 0 of its mode, by the interpreter.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "dualvm/study/catalogue.h"
#include "execute_once.h"

namespace dualvm::study {

namespace {

class AdvertisedTest : public ::testing::TestWithParam<CodeMode> {
protected:
    bool undefined(const std::vector<u8>& instruction) { return once_.undefined(instruction); }

private:
    scene::ExecuteOnce once_{static_cast<unsigned>(GetParam())};
};

// Advertised, and yet #UD where this test runs it.
bool undefined_by_the_manual(const InstructionForm& form) {
    static const std::set<std::string> always = {"ud0", "ud1", "ud2",
                                                 "rsm"};  // outside of system-management mode (SDM vol. 2B, "RSM")
    // On the CPUs of Intel, of which the model is one, they are for 64-bit mode (SDM vol. 2B, "SYSCALL", "SYSRET").
    static const std::set<std::string> long_mode = {"syscall", "sysret"};
    return always.contains(form.mnemonic) || (form.mode != CodeMode::Bits64 && long_mode.contains(form.mnemonic));
}

std::string to_text(const std::vector<u8>& bytes) {
    std::string text;
    for (u8 byte : bytes) {
        constexpr const char* kDigits = "0123456789abcdef";
        text += {kDigits[byte >> 4], kDigits[byte & 15], ' '};
    }
    return text;
}

TEST_P(AdvertisedTest, UndefinedIsWhatCpuidDoesNotAdvertise) {
    for (const InstructionForm& form : instruction_catalogue(CpuModel::standard(), GetParam())) {
        const bool defined = form.advertised ? !undefined_by_the_manual(form) : !form.reads_as.empty();
        for (const std::vector<u8>& bytes : form.encodings) {
            EXPECT_EQ(!undefined(bytes), defined) << form.key() << " (" << to_text(bytes) << ") of " << form.isa_set;
        }
    }
}

// Knights Corner's POPCNT, LZCNT and TZCNT, which Zydis knows: on all other CPUs VEX has nothing there.
TEST_P(AdvertisedTest, VexEncodingsOfIntegerInstructionsAreUndefined) {
    for (u8 opcode : std::initializer_list<u8>{0xb8, 0xbc, 0xbd})
        EXPECT_TRUE(undefined({0xc4, 0xe1, 0x7a, opcode, 0xc0}));
}

INSTANTIATE_TEST_SUITE_P(Modes, AdvertisedTest, ::testing::Values(CodeMode::Bits16, CodeMode::Bits32, CodeMode::Bits64),
                         [](const auto& mode) { return "Bits" + std::to_string(static_cast<int>(mode.param)); });

}  // namespace

}  // namespace dualvm::study
