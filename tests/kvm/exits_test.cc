// Every way in which KVM_RUN returns, made up.
#include "exits.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace dualvm::kvm {
namespace {

class Exits : public testing::Test {
protected:
    Exits() : page_(8192 / sizeof(u64)) {}
    kvm_run& run() { return *reinterpret_cast<kvm_run*>(page_.data()); }
    u8* bytes() { return reinterpret_cast<u8*>(page_.data()); }
    Exit of_reason(u32 reason) {
        run().exit_reason = reason;
        return translate_exit(run());
    }

private:
    std::vector<u64> page_;
};

TEST_F(Exits, OutBecomesPortWriteWithItsData) {
    run().io = {.direction = KVM_EXIT_IO_OUT, .size = 2, .port = 0x3f8, .count = 1, .data_offset = 4096};
    const Exit exit = of_reason(KVM_EXIT_IO);
    EXPECT_EQ(exit.kind, ExitKind::PortWrite);
    EXPECT_EQ(exit.address, 0x3f8u);
    EXPECT_EQ(exit.size, 2);
    EXPECT_EQ(exit.count, 1u);
    EXPECT_EQ(exit.data, bytes() + 4096);
}

TEST_F(Exits, InBecomesPortReadOfEverySize) {
    for (const u8 size : {u8{1}, u8{2}, u8{4}}) {
        run().io = {.direction = KVM_EXIT_IO_IN, .size = size, .port = 0x71, .count = 1, .data_offset = 4096};
        const Exit exit = of_reason(KVM_EXIT_IO);
        EXPECT_EQ(exit.kind, ExitKind::PortRead);
        EXPECT_EQ(exit.size, size);
    }
}

TEST_F(Exits, StringInstructionsBringTheirCount) {
    run().io = {.direction = KVM_EXIT_IO_IN, .size = 4, .port = 0x1f0, .count = 128, .data_offset = 4096};
    EXPECT_EQ(of_reason(KVM_EXIT_IO).count, 128u);
}

TEST_F(Exits, PortAccessOfAnImpossibleSizeIsAFailure) {
    run().io = {.direction = KVM_EXIT_IO_IN, .size = 16, .port = 1, .count = 1, .data_offset = 4096};
    EXPECT_EQ(of_reason(KVM_EXIT_IO).kind, ExitKind::Failure);
}

TEST_F(Exits, MmioReadAndWrite) {
    run().mmio.phys_addr = 0xfee00000;
    run().mmio.len = 8;
    run().mmio.is_write = 0;
    Exit exit = of_reason(KVM_EXIT_MMIO);
    EXPECT_EQ(exit.kind, ExitKind::MmioRead);
    EXPECT_EQ(exit.address, 0xfee00000u);
    EXPECT_EQ(exit.size, 8);
    EXPECT_EQ(exit.data, run().mmio.data);
    run().mmio.is_write = 1;
    EXPECT_EQ(of_reason(KVM_EXIT_MMIO).kind, ExitKind::MmioWrite);
}

TEST_F(Exits, MmioAccessOfAnImpossibleSizeIsAFailure) {
    for (u32 length : {0u, 9u}) {
        run().mmio.len = length;
        EXPECT_EQ(of_reason(KVM_EXIT_MMIO).kind, ExitKind::Failure) << length;
    }
}

TEST_F(Exits, ThoseWithoutDetails) {
    EXPECT_EQ(of_reason(KVM_EXIT_HLT).kind, ExitKind::Halt);
    EXPECT_EQ(of_reason(KVM_EXIT_SHUTDOWN).kind, ExitKind::Shutdown);
    EXPECT_EQ(of_reason(KVM_EXIT_IRQ_WINDOW_OPEN).kind, ExitKind::InterruptWindow);
    EXPECT_EQ(of_reason(KVM_EXIT_SET_TPR).kind, ExitKind::InterruptWindow);
    EXPECT_EQ(of_reason(KVM_EXIT_INTR).kind, ExitKind::Kicked);
}

TEST_F(Exits, DebugIsASingleStepByDr6AndABreakpointOtherwise) {
    run().debug.arch.dr6 = 1u << 14;
    run().debug.arch.pc = 0x1234;
    EXPECT_EQ(of_reason(KVM_EXIT_DEBUG).kind, ExitKind::SingleStep);
    run().debug.arch.dr6 = 1;
    const Exit exit = of_reason(KVM_EXIT_DEBUG);
    EXPECT_EQ(exit.kind, ExitKind::Breakpoint);
    EXPECT_EQ(exit.rip, 0x1234u);
}

TEST_F(Exits, EmulationFailureBringsItsBytes) {
    auto& e = run().emulation_failure;
    e.suberror = KVM_INTERNAL_ERROR_EMULATION;
    e.ndata = 3;
    e.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    e.insn_size = 2;
    e.insn_bytes[0] = 0x9b;
    e.insn_bytes[1] = 0x90;
    const Exit exit = of_reason(KVM_EXIT_INTERNAL_ERROR);
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_TRUE(is_emulation_failure(run()));
    ASSERT_EQ(exit.byte_count, 2);
    EXPECT_EQ(exit.bytes[0], 0x9b);
    EXPECT_EQ(exit.bytes[1], 0x90);
}

TEST_F(Exits, EmulationFailureOfAnAbsurdLengthIsCutOff) {
    auto& e = run().emulation_failure;
    e.suberror = KVM_INTERNAL_ERROR_EMULATION;
    e.ndata = 3;
    e.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    e.insn_size = 255;
    EXPECT_EQ(of_reason(KVM_EXIT_INTERNAL_ERROR).byte_count, 15);
}

TEST_F(Exits, EmulationFailureOfAnOldKernelHasNoBytes) {
    run().internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run().internal.ndata = 0;
    EXPECT_EQ(of_reason(KVM_EXIT_INTERNAL_ERROR).byte_count, 0);
}

TEST_F(Exits, OtherInternalErrorsAreNotEmulationFailures) {
    run().internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
    const Exit exit = of_reason(KVM_EXIT_INTERNAL_ERROR);
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_FALSE(is_emulation_failure(run()));
    EXPECT_NE(exit.text.find("3"), std::string::npos) << exit.text;
}

TEST_F(Exits, FailedEntryTellsTheHardwaresReason) {
    run().fail_entry.hardware_entry_failure_reason = 0x80000021;
    EXPECT_NE(of_reason(KVM_EXIT_FAIL_ENTRY).text.find("0x80000021"), std::string::npos);
}

TEST_F(Exits, SystemEventsAndUnknownReasonsAreFailuresWithTheirNumber) {
    run().system_event.type = KVM_SYSTEM_EVENT_CRASH;
    EXPECT_EQ(of_reason(KVM_EXIT_SYSTEM_EVENT).kind, ExitKind::Failure);
    const Exit exit = of_reason(4711);
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_NE(exit.text.find("4711"), std::string::npos) << exit.text;
}

}  // namespace
}  // namespace dualvm::kvm
