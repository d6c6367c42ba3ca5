// x87 errors with CR0.NE clear: out by FERR#, back as an interrupt, as DOS programs know them (SDM vol. 1, 8.7.2).
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/machine.h"

namespace dualvm {
namespace {

constexpr u64 kCode = 0x5000, kControlWord = 0x6000, kWait = kCode + 12, kStack = 0x8000;
constexpr u8 kCoprocessorVector = 0x75, kErrorVector = 16;
constexpr u16 kHandler = 0x7000, kErrorHandler = 0x7100, kZeroDivide = 4;

// Each time FERR# is reported, the interrupt comes at once.
struct Interrupts final : InterruptSource {
    bool pending() const override { return raised; }
    u8 acknowledge() override {
        raised = false;
        return kCoprocessorVector;
    }
    bool raised = false;
};

class FpuError : public ::testing::Test {
protected:
    void SetUp() override {
        machine->set_interrupt_source(&interrupts);
        store<u16>(kControlWord, 0x37b);  // division by zero is not masked
        store<u32>(4 * kCoprocessorVector, kHandler);
        store<u32>(4 * kErrorVector, kErrorHandler);
        store<u8>(kHandler, 0xf4);
        store<u8>(kErrorHandler, 0xf4);
    }
    template <class T>
    void store(u64 address, T value) {
        ASSERT_TRUE(machine->vmem().write_value(address, value));
    }
    void connect() {
        machine->connect_fpu_error([this] {
            ++reports;
            interrupts.raised = true;
        });
    }
    // Real mode: FNINIT; FLDCW [control word]; FLD1; FLDZ; FDIVP, and what comes behind the division by zero, at kWait.
    void run(std::initializer_list<u8> behind, bool interruptible = true) {
        std::vector<u8> code = {0xdb, 0xe3, 0xd9, 0x2e, 0x00, 0x60, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9};
        code.insert(code.end(), behind);
        ASSERT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
        CpuFile& cpu = machine->cpu();
        cpu.segments.seg[CS] = cpu.segments.seg[DS];
        cpu.general.rip = kCode;
        cpu.general.gpr[RSP] = kStack;
        if (interruptible) cpu.general.rflags |= rflags::IF;
        engine = make_interpreter(*machine, {});
        exit = engine->run({.instructions = 1000}).kind;
        engine->pull(Groups::All);
    }
    u64 rip() const { return machine->cpu().general.rip; }
    u16 saved_ip() const {
        u16 ip = 0;
        EXPECT_TRUE(machine->vmem().read_value(kStack - 6, ip));
        return ip;
    }

    Interrupts interrupts;
    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 2});
    std::unique_ptr<Engine> engine;
    unsigned reports = 0;
    ExitKind exit{};
};

TEST_F(FpuError, IsAnInterruptAtTheNextWaitingInstruction) {
    connect();
    run({0x9b, 0xf4});  // wait; hlt
    EXPECT_EQ(reports, 1u);
    EXPECT_EQ(rip(), kHandler + 1u);
    EXPECT_EQ(saved_ip(), kWait);
}

TEST_F(FpuError, IsAnExceptionIfCr0SaysSo) {
    connect();
    machine->cpu().control.cr0 |= cr0::NE;
    run({0x9b, 0xf4});
    EXPECT_EQ(reports, 0u);
    EXPECT_EQ(rip(), kErrorHandler + 1u);
}

TEST_F(FpuError, IsAnExceptionWhereNobodyIsConnected) {
    run({0x9b, 0xf4});
    EXPECT_EQ(rip(), kErrorHandler + 1u);
}

TEST_F(FpuError, IsNoneForInstructionsThatDoNotWait) {
    connect();
    run({0xdf, 0xe0, 0xdb, 0xe2, 0x9b, 0xf4});  // fnstsw ax; fnclex; wait; hlt
    EXPECT_EQ(reports, 0u);
    EXPECT_EQ(rip(), kWait + 6);
    EXPECT_EQ(machine->cpu().general.gpr[RAX] & 0x80ff, 0x8080u | kZeroDivide);
}

TEST_F(FpuError, HoldsTheCpuUntilAnInterruptCanCome) {
    connect();
    run({0xde, 0xc1, 0xf4}, false);  // faddp; hlt
    EXPECT_EQ(exit, ExitKind::BudgetUsed);
    EXPECT_EQ(rip(), kWait);
}

TEST_F(FpuError, ThatIsIgnoredStaysAndLetsInstructionsGoOn) {
    connect();
    machine->connect_fpu_error([this] { machine->ignore_fpu_error(true); });
    run({0x9b, 0xd9, 0xe8, 0xd8, 0xc0, 0xf4}, false);  // wait; fld1; fadd st, st; hlt
    EXPECT_EQ(rip(), kWait + 6);
    EXPECT_EQ(machine->cpu().fpu.fsw & 0x80bf, 0x8080 | kZeroDivide);
    const unsigned top = machine->cpu().fpu.fsw >> 11 & 7;
    EXPECT_EQ(machine->cpu().fpu.st[top], (X87Register{0x8000000000000000, 0x4000}));  // 2
}

TEST_F(FpuError, IsReportedAgainOnceTheIgnoredOneWasCleared) {
    machine->connect_fpu_error([this] {
        ++reports;
        machine->ignore_fpu_error(true);
    });
    run({0x9b, 0xdb, 0xe2,                                 // wait; fnclex
         0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b, 0xf4},  // fld1; fldz; fdivp; wait; hlt
        false);
    EXPECT_EQ(exit, ExitKind::Halt);
    EXPECT_EQ(reports, 2u);
}

}  // namespace
}  // namespace dualvm
