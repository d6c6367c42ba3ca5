#include "system_fixture.h"

namespace dualvm::interp {
namespace {

class Msr : public SystemTest {
protected:
    void SetUp() override {
        SystemTest::SetUp();
        long_mode();
    }
    bool write(u32 index, u64 value) {
        reg(RCX) = index;
        reg(RAX) = value & 0xffffffff;
        reg(RDX) = value >> 32;
        return execute({0x0f, 0x30}) != Flow::Fault;
    }
    u64 read(u32 index) {
        reg(RCX) = index;
        EXPECT_EQ(execute({0x0f, 0x32}), Flow::Next);
        return reg(RDX) << 32 | reg(RAX);
    }
};

TEST_F(Msr, UnknownRegisterIsGeneralProtection) {
    reg(RCX) = 0x12345678;
    expect_fault({0x0f, 0x32}, GP);
    expect_fault({0x0f, 0x30}, GP);
}

TEST_F(Msr, CounterAndItsAdjustmentMoveTogether) {
    EXPECT_EQ(read(msr::TscAdjust), 0u);
    const u64 before = read(msr::Tsc);
    EXPECT_TRUE(write(msr::TscAdjust, u64{1} << 60));
    EXPECT_EQ((read(msr::Tsc) - before) >> 60, 1u);
    EXPECT_TRUE(write(msr::Tsc, before));
    EXPECT_EQ((read(msr::TscAdjust) + (u64{1} << 59)) >> 60, 0u);  // nearly back at 0
}

TEST_F(Msr, MachineCheckBanksHoldNoErrors) {
    EXPECT_TRUE(write(msr::MachineCheck0 + 4, ~u64{0}));  // control of bank 1
    EXPECT_EQ(read(msr::MachineCheck0 + 4), ~u64{0});
    for (u32 index = msr::MachineCheck0 + 1; index < msr::MachineCheck0 + 4; ++index) {
        EXPECT_EQ(read(index), 0u);
        EXPECT_FALSE(write(index, 1));
        EXPECT_TRUE(write(index, 0));
    }
    reg(RCX) = msr::MachineCheckLast + 1;
    expect_fault({0x0f, 0x32}, GP);
}

TEST_F(Msr, RegistersThatLinuxReads) {
    EXPECT_EQ(read(msr::PlatformId), 0u);
    EXPECT_FALSE(write(msr::PlatformId, 0));
    EXPECT_EQ(read(msr::DebugCtl), 0u);
    EXPECT_FALSE(write(msr::DebugCtl, 2));
}

TEST_F(Msr, BasesByInstruction) {
    expect_fault({0xf3, 0x48, 0x0f, 0xae, 0xc0}, UD);  // RDFSBASE RAX without CR4.FSGSBASE
    cpu().control.cr4 |= cr4::FSGSBASE;
    set_level(3);
    reg(RAX) = 0xffff800012345678;
    EXPECT_EQ(execute({0xf3, 0x48, 0x0f, 0xae, 0xd8}), Flow::Next);  // WRGSBASE RAX
    EXPECT_EQ(seg(GS).base, 0xffff800012345678u);
    EXPECT_EQ(execute({0xf3, 0x0f, 0xae, 0xd0}), Flow::Next);  // WRFSBASE EAX
    EXPECT_EQ(seg(FS).base, 0x12345678u);
    EXPECT_EQ(execute({0xf3, 0x48, 0x0f, 0xae, 0xc9}), Flow::Next);  // RDGSBASE RCX
    EXPECT_EQ(reg(RCX), 0xffff800012345678u);
    reg(RAX) = u64{1} << 47;
    expect_fault({0xf3, 0x48, 0x0f, 0xae, 0xd0}, GP);
}

TEST_F(Msr, OnlyForLevelZero) {
    set_level(3);
    reg(RCX) = msr::Tsc;
    expect_fault({0x0f, 0x32}, GP);
    expect_fault({0x0f, 0x30}, GP);
}

TEST_F(Msr, AddressesMustBeCanonical) {
    for (const u32 index : {msr::Lstar, msr::FsBase, msr::GsBase, msr::KernelGsBase, msr::SysenterEip}) {
        EXPECT_FALSE(write(index, u64{1} << 47)) << index;
        EXPECT_TRUE(write(index, 0xffff800000000000)) << index;
        EXPECT_EQ(read(index), 0xffff800000000000u) << index;
    }
    EXPECT_EQ(seg(GS).base, 0xffff800000000000u);
}

TEST_F(Msr, MemoryTypesAreChecked) {
    EXPECT_FALSE(write(msr::Pat, 2));
    EXPECT_TRUE(write(msr::Pat, 0x0007010600070106));
    EXPECT_FALSE(write(msr::MtrrFix64k, 0x0700000000000000));  // UC- is for the PAT only
    EXPECT_FALSE(write(msr::MtrrDefType, 2));
    EXPECT_TRUE(write(msr::MtrrDefType, 0xc06));
    EXPECT_FALSE(write(msr::MtrrPhysBase0 + 1, u64{1} << 40));
    EXPECT_TRUE(write(msr::MtrrPhysBase0 + 1, 0xff80000800));
}

TEST_F(Msr, CapabilitiesAreReadOnly) {
    EXPECT_EQ(read(msr::MtrrCap), 0x508u);
    EXPECT_FALSE(write(msr::MtrrCap, 0x508));
    EXPECT_EQ(read(msr::McgCap), 0x104u);
    EXPECT_EQ(read(msr::BiosSignature), 0u);
}

TEST_F(Msr, TimeStampCounterGoesOnFromWhatWasWritten) {
    EXPECT_TRUE(write(msr::Tsc, 0x123456789abc));
    EXPECT_EQ(read(msr::Tsc), 0x123456789abcu);  // no instruction is counted here, so no time passes
    EXPECT_EQ(execute({0x0f, 0x31}), Flow::Next);
    EXPECT_EQ(reg(RDX) << 32 | reg(RAX), 0x123456789abcu);
}

TEST_F(Msr, RdtscpGivesTheProcessorsNumber) {
    EXPECT_TRUE(write(msr::TscAux, 7));
    EXPECT_EQ(execute({0x0f, 0x01, 0xf9}), Flow::Next);
    EXPECT_EQ(reg(RCX), 7u);
    EXPECT_FALSE(write(msr::TscAux, u64{1} << 32));
}

TEST_F(Msr, TimeStampDisableIsForUserPrograms) {
    cpu().control.cr4 |= cr4::TSD;
    EXPECT_EQ(execute({0x0f, 0x31}), Flow::Next);
    set_level(3);
    expect_fault({0x0f, 0x31}, GP);
    expect_fault({0x0f, 0x01, 0xf9}, GP);
}

TEST_F(Msr, NoPerformanceCounters) { expect_fault({0x0f, 0x33}, GP); }

TEST_F(Msr, CpuidAnswersFromTheModel) {
    reg(RAX) = 0xffffffff80000008;
    reg(RBX) = ~u64{0};
    EXPECT_EQ(execute({0x0f, 0xa2}), Flow::Next);
    EXPECT_EQ(reg(RAX), CpuModel::standard().cpuid(0x80000008, 0, cpu()).eax);
    EXPECT_EQ(reg(RBX) >> 32, 0u);
}

TEST_F(Msr, WhatTheModelIsWithoutNeitherCpuidNorCr4Knows) {
    s().machine->set_cpu_model(CpuModel::standard().without_cr4_bits(cr4::PCIDE));
    constexpr u64 kPcid = 1u << 17, kInvpcid = 1u << 10, kSmep = 1u << 7;
    reg(RAX) = 1;
    EXPECT_EQ(execute({0x0f, 0xa2}), Flow::Next);
    EXPECT_EQ(reg(RCX) & kPcid, 0u);
    reg(RAX) = 7;
    reg(RCX) = 0;
    EXPECT_EQ(execute({0x0f, 0xa2}), Flow::Next);
    EXPECT_EQ(reg(RBX) & (kInvpcid | kSmep), kSmep);
    reg(RAX) = cpu().control.cr4 | cr4::PCIDE;
    expect_fault({0x0f, 0x22, 0xe0}, GP, 0);  // mov cr4, rax
}

TEST_F(Msr, MicrocodeUpdatesAreNotLoaded) {
    EXPECT_TRUE(write(msr::BiosUpdateTrigger, 0x6030));
    EXPECT_FALSE(write(msr::BiosUpdateTrigger, u64{1} << 47));
    EXPECT_TRUE(write(msr::BiosSignature, 0));
    EXPECT_EQ(read(msr::BiosSignature), 0u);
    reg(RCX) = msr::BiosUpdateTrigger;
    expect_fault({0x0f, 0x32}, GP);  // there is nothing to read
}

TEST_F(Msr, PentiumMachineChecksAreThereToBeRead) {
    EXPECT_EQ(read(msr::P5McAddr), 0u);
    EXPECT_EQ(read(msr::P5McType), 0u);
}

TEST_F(Msr, ResetLeavesInEdxWhatCpuidCallsTheProcessor) {
    cpu().reset();
    const u64 signature = reg(RDX);
    reg(RAX) = 1;
    EXPECT_EQ(execute({0x0f, 0xa2}), Flow::Next);
    EXPECT_EQ(reg(RAX), signature);
}

TEST_F(Msr, CpuidLeaf7HasOneSubleaf) {
    auto features = [&](u64 leaf, u64 subleaf) {
        reg(RAX) = leaf;
        reg(RCX) = subleaf;
        EXPECT_EQ(execute({0x0f, 0xa2}), Flow::Next);
        return reg(RBX);
    };
    EXPECT_NE(features(7, 0), 0u);
    EXPECT_EQ(features(7, 1), 0u);
    EXPECT_EQ(features(8, 0), features(7, 0));  // beyond the last leaf it is this one's answer
    EXPECT_EQ(features(8, 1), 0u);
}

TEST_F(Msr, CpuidHasSyscallIn64BitModeOnly) {
    constexpr u64 kSyscall = 1u << 11, kLongMode = 1u << 29;
    reg(RAX) = 0x80000001;
    EXPECT_EQ(execute({0x0f, 0xa2}), Flow::Next);
    EXPECT_EQ(reg(RDX) & (kSyscall | kLongMode), kSyscall | kLongMode);
    seg(CS).access &= ~Segment::L;  // compatibility mode
    reg(RAX) = 0x80000001;
    EXPECT_EQ(execute({0x0f, 0xa2}), Flow::Next);
    EXPECT_EQ(reg(RDX) & (kSyscall | kLongMode), kLongMode);
}

}  // namespace
}  // namespace dualvm::interp
