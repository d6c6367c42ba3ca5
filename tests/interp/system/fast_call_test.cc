#include "system_fixture.h"

namespace dualvm::interp {
namespace {

class FastCall : public SystemTest {
protected:
    void SetUp() override {
        SystemTest::SetUp();
        cpu().msrs.star = u64{0x1b} << 48 | u64{0x08} << 32;
        cpu().msrs.lstar = kHandler;
        cpu().msrs.sfmask = rflags::IF | rflags::TF;
        cpu().msrs.sysenter_cs = 0x08;
        cpu().msrs.sysenter_eip = kHandler;
        cpu().msrs.sysenter_esp = kStack0;
    }
    void enable_syscall() { cpu().control.efer |= efer::SCE; }
};

TEST_F(FastCall, SyscallNeedsItsEnableBitAnd64BitMode) {
    long_mode(3);
    expect_fault({0x0f, 0x05}, UD);
    enable_syscall();
    seg(CS).access = (seg(CS).access & ~Segment::L) | Segment::DB;
    expect_fault({0x0f, 0x05}, UD);
}

TEST_F(FastCall, SyscallEntersLevelZeroAndSysretComesBack) {
    long_mode(3);
    enable_syscall();
    cpu().general.rflags |= rflags::IF | rflags::CF;
    EXPECT_EQ(execute({0x0f, 0x05}), Flow::Jump);
    EXPECT_EQ(cpu().cpl(), 0u);
    EXPECT_FALSE(s().user);
    EXPECT_EQ(cpu().general.rip, kHandler);
    EXPECT_EQ(reg(RCX), kCode + 2);
    EXPECT_EQ(reg(R11), rflags::IF | rflags::CF | rflags::Fixed1);
    EXPECT_EQ(cpu().general.rflags, rflags::CF | rflags::Fixed1);
    EXPECT_EQ(seg(CS).selector, 0x08);
    EXPECT_EQ(seg(SS).selector, 0x10);
    EXPECT_EQ(reg(RSP), kStack3);

    EXPECT_EQ(execute({0x48, 0x0f, 0x07}), Flow::Jump);  // SYSRETQ
    EXPECT_EQ(cpu().cpl(), 3u);
    EXPECT_TRUE(s().user);
    EXPECT_EQ(cpu().general.rip, kCode + 2);
    EXPECT_EQ(cpu().general.rflags, rflags::IF | rflags::CF | rflags::Fixed1);
    EXPECT_EQ(seg(CS).selector, 0x2b);
    EXPECT_EQ(seg(SS).selector, 0x23);
    EXPECT_EQ(cpu().mode(), CpuMode::Long64);
}

TEST_F(FastCall, SyscallTrapsOnlyIfItsMaskLeavesTheTrapFlag) {
    long_mode(3);
    enable_syscall();
    cpu().general.rflags |= rflags::TF;
    EXPECT_EQ(execute({0x0f, 0x05}), Flow::Jump);
    EXPECT_FALSE(cpu().events.exception_pending);
    cpu().general.rflags |= rflags::TF;
    cpu().msrs.sfmask = 0;
    EXPECT_EQ(execute({0x0f, 0x05}), Flow::Jump);
    EXPECT_TRUE(cpu().events.exception_pending);
    EXPECT_EQ(cpu().events.exception_vector, DB);
    EXPECT_NE(cpu().debug.dr6 & 0x4000, 0u);
}

TEST_F(FastCall, SysretWithTheTrapFlagTrapsBeforeTheProgramsFirstInstruction) {
    long_mode();
    enable_syscall();
    reg(RCX) = kCode + 0x100;
    reg(R11) = rflags::TF;
    EXPECT_EQ(execute({0x48, 0x0f, 0x07}), Flow::Jump);
    EXPECT_EQ(cpu().general.rip, kCode + 0x100);
    EXPECT_TRUE(cpu().events.exception_pending);
    EXPECT_EQ(cpu().events.exception_vector, DB);
}

TEST_F(FastCall, SysretTo32BitCode) {
    long_mode();
    enable_syscall();
    reg(RCX) = 0x1122334455;
    EXPECT_EQ(execute({0x0f, 0x07}), Flow::Jump);
    EXPECT_EQ(cpu().mode(), CpuMode::Compatibility32);
    EXPECT_EQ(cpu().general.rip, 0x22334455u);
    EXPECT_EQ(seg(CS).selector, 0x1b);
}

TEST_F(FastCall, SysretFaultsAtLevelZero) {
    long_mode();
    enable_syscall();
    reg(RCX) = u64{1} << 47;
    expect_fault({0x48, 0x0f, 0x07}, GP);
    reg(RCX) = 0;
    set_level(3);
    expect_fault({0x48, 0x0f, 0x07}, GP);
}

TEST_F(FastCall, SysenterAndSysexitIn32BitMode) {
    protected_mode(3);
    cpu().general.rflags |= rflags::IF;
    EXPECT_EQ(execute({0x0f, 0x34}), Flow::Jump);
    EXPECT_EQ(cpu().cpl(), 0u);
    EXPECT_EQ(cpu().general.rip, kHandler);
    EXPECT_EQ(reg(RSP), kStack0);
    EXPECT_EQ(cpu().general.rflags & rflags::IF, 0u);
    EXPECT_EQ(seg(SS).selector, 0x10);

    reg(RDX) = kCode;
    reg(RCX) = kStack3;
    EXPECT_EQ(execute({0x0f, 0x35}), Flow::Jump);
    EXPECT_EQ(seg(CS).selector, 0x1b);
    EXPECT_EQ(seg(SS).selector, 0x23);
    EXPECT_EQ(cpu().general.rip, kCode);
    EXPECT_EQ(reg(RSP), kStack3);
    EXPECT_TRUE(s().user);
}

TEST_F(FastCall, SysenterFromCompatibilityModeEnters64BitCode) {
    long_mode(3);
    seg(CS).access = (seg(CS).access & ~Segment::L) | Segment::DB;
    EXPECT_EQ(execute({0x0f, 0x34}), Flow::Jump);
    EXPECT_EQ(cpu().mode(), CpuMode::Long64);
}

TEST_F(FastCall, SysenterFaults) {
    expect_fault({0x0f, 0x34}, GP);  // real mode
    protected_mode(3);
    expect_fault({0x0f, 0x35}, GP);  // SYSEXIT at ring 3
    cpu().msrs.sysenter_cs = 3;
    expect_fault({0x0f, 0x34}, GP);
}

TEST_F(FastCall, SysexitTo64BitCodeWantsCanonicalAddresses) {
    long_mode();
    reg(RDX) = u64{1} << 47;
    expect_fault({0x48, 0x0f, 0x35}, GP);
    reg(RDX) = kCode;
    EXPECT_EQ(execute({0x48, 0x0f, 0x35}), Flow::Jump);
    EXPECT_EQ(seg(CS).selector, 0x2b);
    EXPECT_EQ(cpu().mode(), CpuMode::Long64);
}

TEST_F(FastCall, SwapgsExchangesAtLevelZeroOnly) {
    long_mode();
    seg(GS).base = 1;
    cpu().msrs.kernel_gs_base = 2;
    EXPECT_EQ(execute({0x0f, 0x01, 0xf8}), Flow::Next);
    EXPECT_EQ(seg(GS).base, 2u);
    EXPECT_EQ(cpu().msrs.kernel_gs_base, 1u);
    set_level(3);
    expect_fault({0x0f, 0x01, 0xf8}, GP);
}

}  // namespace
}  // namespace dualvm::interp
