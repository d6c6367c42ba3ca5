#include "system_fixture.h"

namespace dualvm::interp {
namespace {

class TaskSwitchTest : public SystemTest {
protected:
    void SetUp() override {
        SystemTest::SetUp();
        protected_mode(0);
        store<u32>(kTss2 + 0x20, 0x4444);          // EIP
        store<u32>(kTss2 + 0x24, rflags::Fixed1);  // EFLAGS
        store<u32>(kTss2 + 0x28, 0xeaeaeaea);      // EAX
        store<u32>(kTss2 + 0x38, 0xb000);          // ESP
        for (u32 offset = 0x48; offset <= 0x5c; offset += 4) store<u32>(kTss2 + offset, kData0);
        store<u32>(kTss2 + 0x4c, kCode0);
    }
    static constexpr u8 far_low(u16 selector) { return static_cast<u8>(selector); }
    Flow jump(u16 selector) { return execute({0xea, 0, 0, 0, 0, far_low(selector), 0}); }
    Flow call(u16 selector) { return execute({0x9a, 0, 0, 0, 0, far_low(selector), 0}); }
    u32 type_of(u16 selector) { return load<u8>(kGdt + selector + 5) & 0xfu; }
};

TEST_F(TaskSwitchTest, JumpSavesTheOldTaskAndLoadsTheNew) {
    reg(RBX) = 0xbbbb;
    EXPECT_EQ(jump(kTask2), Flow::Jump);
    EXPECT_EQ(cpu().general.rip, 0x4444u);
    EXPECT_EQ(reg(RAX), 0xeaeaeaeau);
    EXPECT_EQ(reg(RSP), 0xb000u);
    EXPECT_EQ(seg(CS).selector, kCode0);
    EXPECT_EQ(cpu().segments.tr.selector, kTask2);
    EXPECT_EQ(cpu().control.cr0 & cr0::TS, cr0::TS);
    EXPECT_EQ(cpu().general.rflags & rflags::NT, 0u);
    EXPECT_EQ(load32(kTss + 0x20), kCode + 7);
    EXPECT_EQ(load32(kTss + 0x34), 0xbbbbu);
    EXPECT_EQ(load32(kTss + 0x38), kStack0);
    EXPECT_EQ(load<u16>(kTss + 0x4c), kCode0);
    EXPECT_EQ(type_of(kTask), 9u);  // no longer busy
    EXPECT_EQ(type_of(kTask2), 11u);
}

TEST_F(TaskSwitchTest, CallNestsAndIretComesBack) {
    EXPECT_EQ(call(kTaskGate_), Flow::Jump);
    EXPECT_EQ(load<u16>(kTss2), kTask);
    EXPECT_EQ(cpu().general.rflags & rflags::NT, rflags::NT);
    EXPECT_EQ(type_of(kTask), 11u);
    EXPECT_EQ(type_of(kTask2), 11u);

    EXPECT_EQ(execute({0xcf}), Flow::Jump);
    EXPECT_EQ(cpu().segments.tr.selector, kTask);
    EXPECT_EQ(cpu().general.rip, kCode + 7);
    EXPECT_EQ(reg(RSP), kStack0);
    EXPECT_EQ(type_of(kTask), 11u);
    EXPECT_EQ(type_of(kTask2), 9u);
    EXPECT_EQ(load32(kTss2 + 0x24) & rflags::NT, 0u);
}

TEST_F(TaskSwitchTest, InterruptThroughATaskGatePushesTheErrorCode) {
    store(kIdt + DF * 8u, gate(kTask2, 0, 0x85));
    EXPECT_TRUE(deliver_event(s(), {.vector = DF, .has_error_code = true, .error_code = 0, .return_rip = kCode}));
    EXPECT_EQ(cpu().general.rip, 0x4444u);
    EXPECT_EQ(reg(RSP), 0xb000u - 4);
    EXPECT_EQ(load32(0xb000 - 4), 0u);
    EXPECT_EQ(load32(kTss + 0x20), kCode);
}

TEST_F(TaskSwitchTest, FaultsOfTheOldTaskChangeNothing) {
    expect_fault({0xea, 0, 0, 0, 0, kTask, 0}, GP, kTask);  // busy: itself
    store(kGdt + kTask2, descriptor(kTss2, 0x66, 0x89));
    expect_fault({0xea, 0, 0, 0, 0, kTask2, 0}, TS, kTask2);
    store(kGdt + kTask2, descriptor(kTss2, 0x67, 0x09));
    expect_fault({0xea, 0, 0, 0, 0, kTask2, 0}, NP, kTask2);
    cpu().general.rflags |= rflags::NT;
    store<u16>(kTss, kTask2);  // IRET to a task that is not busy
    expect_fault({0xcf}, TS, kTask2);
}

TEST_F(TaskSwitchTest, GateOfAnInnerLevelIsRefused) {
    set_level(3);
    expect_fault({0xea, 0, 0, 0, 0, kTask2, 0}, GP, kTask2);
    EXPECT_EQ(jump(kTaskGate_ | 3), Flow::Jump);  // its gate has DPL 3
}

TEST_F(TaskSwitchTest, BadSegmentOfTheNewTaskIsItsOwnFirstException) {
    store<u32>(kTss2 + 0x54, kAbsent);  // DS
    EXPECT_EQ(jump(kTask2), Flow::Jump);
    EXPECT_EQ(cpu().segments.tr.selector, kTask2);
    EXPECT_EQ(cpu().general.rip, 0x4444u);
    EXPECT_TRUE(cpu().events.exception_pending);
    EXPECT_EQ(cpu().events.exception_vector, NP);
    EXPECT_EQ(cpu().events.exception_error_code, kAbsent);
}

TEST_F(TaskSwitchTest, TrapBitRaisesDebugException) {
    store<u32>(kTss2 + 0x64, 1);
    EXPECT_EQ(jump(kTask2), Flow::Jump);
    EXPECT_TRUE(cpu().events.exception_pending);
    EXPECT_EQ(cpu().events.exception_vector, DB);
    EXPECT_EQ(cpu().debug.dr6 & 0x8000, 0x8000u);
}

TEST_F(TaskSwitchTest, SixteenBitTask) {
    store(kGdt + kTask2, descriptor(kTss2, 0x2b, 0x81));
    store<u16>(kTss2 + 0x0e, 0x4444);
    store<u16>(kTss2 + 0x10, rflags::Fixed1);
    store<u16>(kTss2 + 0x12, 0xaaaa);
    for (u32 offset = 0x22; offset <= 0x28; offset += 2) store<u16>(kTss2 + offset, kData0);
    store<u16>(kTss2 + 0x24, kCode16);
    store<u16>(kTss2 + 0x2a, 0);
    EXPECT_EQ(jump(kTask2), Flow::Jump);
    EXPECT_FALSE(cpu().events.exception_pending);
    EXPECT_EQ(cpu().general.rip, 0x4444u);
    EXPECT_EQ(reg(RAX), 0xaaaau);
    EXPECT_TRUE(seg(FS).has(Segment::Unusable));
}

TEST_F(TaskSwitchTest, VirtualModeTask) {
    store<u32>(kTss2 + 0x24, rflags::VM | rflags::Fixed1);
    EXPECT_EQ(jump(kTask2), Flow::Jump);
    EXPECT_EQ(cpu().mode(), CpuMode::Virtual8086);
    EXPECT_EQ(seg(CS).base, u64{kCode0} << 4);
    EXPECT_TRUE(s().user);
}

}  // namespace
}  // namespace dualvm::interp
