// What the interpreter remembers, it also forgets: blocks when their cache is full, translations when the guest says
// so.
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/run_loop.h"
#include "flat_machine.h"

namespace dualvm {
namespace {

using Code = std::vector<u8>;

class Forgetting : public ::testing::Test {
protected:
    static constexpr u64 kCode = 0x200000;

    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 8}));
    EngineStatistics statistics;

    template <class T>
    void put(u64 address, T value) {
        ASSERT_TRUE(machine->vmem().write_value(address, value));
    }

    // Runs `code` to its HLT and leaves the registers in machine->cpu().
    void run(const Code& code, u64 block_cache_bytes = u64{1} << 20) {
        CpuFile& cpu = machine->cpu();
        cpu.general.rip = kCode;
        cpu.general.gpr[RSP] = 0x300000;
        cpu.general.rflags = rflags::Fixed1;
        ASSERT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
        auto engine = make_interpreter(*machine, {.block_cache_bytes = block_cache_bytes, .without = {}});
        EXPECT_EQ(run_loop(*machine, *engine, {.max_instructions = 1'000'000}, {}).reason, "halted");
        engine->pull(Groups::All);
        statistics = engine->statistics();
    }
    u64 gpr(Gpr reg) const { return machine->cpu().general.gpr[reg]; }
};

TEST_F(Forgetting, TheBlockCacheIsBoundedAndUsedAgain) {
    constexpr u64 kFunctions = 20'000, kCache = u64{1} << 20;
    set_up_flat(*machine, /*long_mode=*/false);
    for (u64 i = 0; i < kFunctions; ++i) put(0x300000 + 16 * i, u16{0xc340});  // inc eax; ret
    run(
        {
            0x31, 0xc0,                    // xor eax, eax
            0xbb, 0x00, 0x00, 0x30, 0x00,  // mov ebx, 0x300000
            0xb9, 0x20, 0x4e, 0x00, 0x00,  // mov ecx, 20000
            0xff, 0xd3,                    // call ebx
            0x83, 0xc3, 0x10,              // add ebx, 16
            0x49,                          // dec ecx
            0x75, 0xf8,                    // jnz to the call
            0xf4,                          // hlt
        },
        kCache);
    EXPECT_EQ(gpr(RAX), kFunctions);
    EXPECT_GE(statistics.named["blocks built"], kFunctions);
    EXPECT_GT(statistics.named["block cache emptied"], 5u);
    EXPECT_LE(statistics.named["block cache bytes"], kCache);
}

// mov eax, [0x601000]; mov rbx, ENTRY; mov [the directory's entry for 0x600000], rbx; invlpg [PAGE]; mov ecx, [READ];
// hlt
Code change_directory_entry(u8 low, u8 middle, u8 high, u8 invalidated, u8 read) {
    return {0x8b, 0x04, 0x25, 0x00, 0x10,   0x60, 0x00,                                                         //
            0x48, 0xc7, 0xc3, low,  middle, high, 0x00,                                                         //
            0x48, 0x89, 0x1c, 0x25, 0x18,   0x20, 0x01,        0x00,                                            //
            0x0f, 0x01, 0x3c, 0x25, 0x00,   0x00, invalidated, 0x00, 0x8b, 0x0c, 0x25, 0x00, read, 0x60, 0x00,  //
            0xf4};
}

TEST_F(Forgetting, InvlpgForgetsAllOfALargePage) {
    set_up_flat(*machine, /*long_mode=*/true);
    put(0x601000, u32{1});
    put(0x401000, u32{2});
    run(change_directory_entry(0x83, 0x00, 0x40, /*invalidated=*/0x60, /*read=*/0x10));
    EXPECT_EQ(gpr(RAX), 1u);
    EXPECT_EQ(gpr(RCX), 2u);
}

TEST_F(Forgetting, InvlpgOfAnyPageForgetsWherePageTablesAre) {
    set_up_flat(*machine, /*long_mode=*/true);
    constexpr u64 kOld = 0x14000, kNew = 0x15000;
    put(kFlatDirectory + 3 * 8, kOld | 3);
    put(kOld + 1 * 8, u64{0x500000 | 3});
    put(kOld + 2 * 8, u64{0x501000 | 3});
    put(kNew + 2 * 8, u64{0x502000 | 3});
    put(0x500000, u32{1});
    put(0x501000, u32{2});
    put(0x502000, u32{3});
    run(change_directory_entry(0x03, 0x50, 0x01, /*invalidated=*/0x40, /*read=*/0x20));
    EXPECT_EQ(gpr(RAX), 1u);
    EXPECT_EQ(gpr(RCX), 3u);
}

}  // namespace
}  // namespace dualvm
