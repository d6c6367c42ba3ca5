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
    EXPECT_EQ(read(msr::McgCap), 0u);
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

}  // namespace
}  // namespace dualvm::interp
