// The host's CPU as a runner: it gives back all that ring 3 can see, and nothing that a case does reaches us.
#include "runners.h"

namespace dualvm::study {
namespace {

class NativeCpuTest : public ::testing::Test {
protected:
    void SetUp() override {
        auto made = NativeCpu::create();
        if (!made) GTEST_SKIP() << made.error().text;
        cpu_ = std::move(*made);
    }
    // The next case is run as if nothing had been.
    void expect_alive() {
        Case c = case_of({0x48, 0xff, 0xc0});  // inc rax
        c.gpr[RAX] = 41;
        const CaseResult result = run(*cpu_, c);
        EXPECT_TRUE(result.reached_filler(c)) << result.text;
        EXPECT_EQ(result.general.gpr[RAX], 42u);
    }
    std::unique_ptr<NativeCpu> cpu_;
};

TEST_F(NativeCpuTest, RegistersAndFlagsComeBack) {
    Case c = case_of({0x90});
    for (unsigned i = 0; i < 16; ++i) c.gpr[i] = 0x0123456789abcdef * (i + 1);
    if (cpu_->distrust().wild_stack) c.gpr[RSP] = canonical_form(c.gpr[RSP]);
    c.rflags |= rflags::Arithmetic | rflags::DF | rflags::AC | rflags::ID | rflags::NT;
    const CaseResult result = run(*cpu_, c);
    EXPECT_EQ(result.general.gpr, c.gpr);
    const u64 flags = ring3::kFreeFlags & ~cpu_->distrust().flags;
    EXPECT_EQ(result.general.rflags & flags, c.rflags & flags);
    EXPECT_EQ(result.general.rip, c.code_end());
}
TEST_F(NativeCpuTest, FlagsOfOneCaseAreNotThoseOfTheNext) {
    Case c = case_of({0x90});
    c.rflags |= rflags::NT | rflags::AC | rflags::ID;
    run(*cpu_, c);
    c.rflags = rflags::Fixed1 | rflags::IF;
    EXPECT_EQ(run(*cpu_, c).general.rflags & ring3::kFreeFlags, 0u);
}
TEST_F(NativeCpuTest, X87AndVectorRegistersComeBack) {
    Case c = case_of({0x90});
    c.fpu.fcw = 0x0c40;
    c.fpu.fsw = 5 << 11;
    c.fpu.ftw = 0x81;
    c.fpu.mxcsr = 0x9fc0;
    for (unsigned i = 0; i < 8; ++i) c.fpu.st[i] = {0x8000000000000000 + i, static_cast<u16>(0x3fff + i)};
    for (unsigned i = 0; i < 16; ++i) c.fpu.vector[i].bytes[i] = 0xab;
    const CaseResult result = run(*cpu_, c);
    EXPECT_EQ(result.fpu.fcw, c.fpu.fcw);
    EXPECT_EQ(result.fpu.fsw, c.fpu.fsw);
    EXPECT_EQ(result.fpu.ftw, c.fpu.ftw);
    EXPECT_EQ(result.fpu.st, c.fpu.st);
    EXPECT_EQ(result.fpu.mxcsr, c.fpu.mxcsr);
    EXPECT_EQ(result.fpu.vector, c.fpu.vector);
}
TEST_F(NativeCpuTest, SegmentBasesAreTheCasesOwn) {
    Case c = case_of({0x64, 0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0});  // mov rax, fs:[8]
    c.window[ring3::kFsBase - ring3::kWindow + 8] = 0x77;
    EXPECT_EQ(run(*cpu_, c).general.gpr[RAX], 0x77u);
}
TEST_F(NativeCpuTest, AFaultTellsWhereAndWhy) {
    Case c = case_of({0x90, 0x88, 0x03});  // nop; mov [rbx], al
    c.gpr[RBX] = ring3::kWindow + ring3::kWritableBytes;
    const CaseResult result = run(*cpu_, c);
    EXPECT_EQ(result.vector, 14);
    EXPECT_EQ(result.error_code, 7u);
    EXPECT_EQ(result.cr2, c.gpr[RBX]);
    EXPECT_EQ(result.general.rip, c.code_begin() + 1);
}
TEST_F(NativeCpuTest, SingleStepsAreSeen) {
    Case c = case_of({0x90, 0x90});
    c.rflags |= rflags::TF;
    const CaseResult result = run(*cpu_, c);
    EXPECT_EQ(result.vector, 1);
    EXPECT_EQ(result.general.rip, c.code_begin() + 1);
}
TEST_F(NativeCpuTest, SystemCallsReachNobody) {
    Case c = case_of({0x0f, 0x05});  // syscall
    c.gpr[RAX] = 231;                // exit_group
    EXPECT_EQ(run(*cpu_, c).ending, Ending::SystemCall);
    c.code = {0xcd, 0x80};  // int 80h
    c.gpr[RAX] = 1;         // exit
    // A kernel without 32-bit system calls has no gate there: #GP.
    const CaseResult result = run(*cpu_, c);
    if (result.ending != Ending::SystemCall) {
        EXPECT_EQ(result.vector, 13);
        EXPECT_EQ(result.error_code, 0x80u * 8 + 2);
    }
    expect_alive();
    EXPECT_EQ(cpu_->children(), 1u);
}
TEST_F(NativeCpuTest, AnEndlessLoopIsEnded) {
    EXPECT_EQ(run(*cpu_, case_of({0xeb, 0xfe})).ending, Ending::NoEnd);
    expect_alive();
}
TEST_F(NativeCpuTest, AWildStackAndAWildJumpAreFaultsLikeOthers) {
    Case c = case_of({0x50});  // push rax
    c.gpr[RSP] = 0x1234;
    EXPECT_EQ(run(*cpu_, c).vector, 14);
    c.code = {0xff, 0xe0};  // jmp rax
    c.gpr[RAX] = 0x7fffffffe000;
    EXPECT_EQ(run(*cpu_, c).vector, 14);
    expect_alive();
}
TEST_F(NativeCpuTest, SegmentRegistersOfOneCaseAreNotThoseOfTheNext) {
    run(*cpu_, case_of({0x31, 0xc0, 0x8e, 0xe0, 0x8e, 0xd8}));  // xor eax, eax; mov fs, eax; mov ds, eax
    Case c = case_of({0x64, 0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0});
    c.window[ring3::kFsBase - ring3::kWindow + 8] = 0x77;
    EXPECT_EQ(run(*cpu_, c).general.gpr[RAX], 0x77u);
}
TEST_F(NativeCpuTest, Runs32BitCode) {
    if (!cpu_->can_run(CpuMode::Compatibility32)) GTEST_SKIP() << "this kernel lets no 64-bit program run 32-bit code";
    Case c = case_of({0x40, 0x48, 0x40}, CpuMode::Compatibility32);  // inc, dec, inc eax
    c.gpr[RAX] = 6;
    const CaseResult result = run(*cpu_, c);
    EXPECT_TRUE(result.reached_filler(c));
    EXPECT_EQ(result.general.gpr[RAX], 7u);
}

}  // namespace
}  // namespace dualvm::study
