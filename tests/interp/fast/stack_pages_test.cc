// Stack accesses across pages that are not neighbours in memory: the fast PUSH, POP, CALL and RET remember a page.
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/run_loop.h"
#include "flat_machine.h"

namespace dualvm {
namespace {

class StackPages : public ::testing::Test {
protected:
    static constexpr u64 kCode = 0x10'0000, kEdge = 0x40'0000, kUpperFrame = 0x60'0000;
    static constexpr u64 kPattern = 0x1122334455667788;

    void SetUp() override {
        set_up_flat(*machine, /*long_mode=*/true);
        put(kFlatDirectory + 8 * 2, kUpperFrame | 0x83);  // what lies above the edge
    }
    template <class T>
    void put(u64 address, T value) {
        ASSERT_TRUE(machine->vmem().write_value(address, value));
    }
    u32 get(u64 address) {
        u32 value = 0;
        EXPECT_TRUE(machine->vmem().read_value(address, value));
        return value;
    }
    // Runs `code` to its HLT.
    void run(const std::vector<u8>& code) {
        CpuFile& cpu = machine->cpu();
        cpu.general.rip = kCode;
        cpu.general.rflags = rflags::Fixed1;
        cpu.general.gpr[RBX] = kPattern;
        ASSERT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
        auto engine = make_interpreter(*machine, {});
        EXPECT_EQ(run_loop(*machine, *engine, {.max_instructions = 1000}, {}).reason, "halted");
        engine->pull(Groups::All);
    }
    // Eight bytes across the edge, four of them below it.
    void expect_across(u64 value) {
        EXPECT_EQ(get(kEdge - 4), static_cast<u32>(value));
        EXPECT_EQ(get(kUpperFrame), static_cast<u32>(value >> 32));
        EXPECT_EQ(get(kUpperFrame - 4), 0u);
    }
    void put_across(u64 value) {
        put(kEdge - 4, static_cast<u32>(value));
        put(kUpperFrame, static_cast<u32>(value >> 32));
    }

    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 8}));
};

TEST_F(StackPages, PushAcrossTheLowerEdgeOfTheRememberedPage) {
    run({
        0xbc, 0x20, 0x00, 0x40, 0x00,  // mov esp, edge + 20h
        0x53,                          // push rbx: now the TLB knows the page,
        0x53,                          // push rbx: and now the stack does
        0xbc, 0x04, 0x00, 0x40, 0x00,  // mov esp, edge + 4
        0x53,                          // push rbx
        0xf4,                          // hlt
    });
    expect_across(kPattern);
}

TEST_F(StackPages, CallAcrossTheLowerEdgeOfTheRememberedPage) {
    run({
        0xbc, 0x20, 0x00, 0x40, 0x00,  // mov esp, edge + 20h
        0x53,                          // push rbx: now the TLB knows the page,
        0x53,                          // push rbx: and now the stack does
        0xbc, 0x04, 0x00, 0x40, 0x00,  // mov esp, edge + 4
        0xe8, 0x00, 0x00, 0x00, 0x00,  // call to here
        0xf4,                          // hlt
    });
    expect_across(kCode + 17);
}

TEST_F(StackPages, PopAcrossTheLowerEdgeOfTheRememberedPage) {
    put_across(kPattern);
    run({
        0xbc, 0x10, 0x00, 0x40, 0x00,  // mov esp, edge + 10h
        0x58,                          // pop rax: now the TLB knows the page,
        0x58,                          // pop rax: and now the stack does
        0xbc, 0xfc, 0xff, 0x3f, 0x00,  // mov esp, edge - 4
        0x58,                          // pop rax
        0xf4,                          // hlt
    });
    EXPECT_EQ(machine->cpu().general.gpr[RAX], kPattern);
}

TEST_F(StackPages, ReturnAcrossTheLowerEdgeOfTheRememberedPage) {
    put_across(kCode + 14);
    run({
        0xbc, 0x10, 0x00, 0x40, 0x00,  // mov esp, edge + 10h
        0x58,                          // pop rax: now the TLB knows the page,
        0x58,                          // pop rax: and now the stack does
        0xbc, 0xfc, 0xff, 0x3f, 0x00,  // mov esp, edge - 4
        0xc3,                          // ret
        0xf4,                          // hlt
        0xb0, 0x01,                    // mov al, 1
        0xf4,                          // hlt
    });
    EXPECT_EQ(machine->cpu().general.gpr[RAX] & 0xff, 1u);
}

TEST_F(StackPages, MisalignedStackWithinAPage) {
    run({
        0xbc, 0x23, 0x00, 0x40, 0x00,  // mov esp, edge + 23h
        0x53,                          // push rbx
        0x53,                          // push rbx
        0x58,                          // pop rax
        0xf4,                          // hlt
    });
    EXPECT_EQ(machine->cpu().general.gpr[RAX], kPattern);
    EXPECT_EQ(machine->cpu().general.gpr[RSP], kEdge + 0x1b);
    EXPECT_EQ(get(kUpperFrame + 0x13), static_cast<u32>(kPattern));
}

}  // namespace
}  // namespace dualvm
