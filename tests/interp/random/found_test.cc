// What random bytes as code have found, each in its smallest form.
#include <gtest/gtest.h>

#include <algorithm>

#include "dualvm/interp/interpreter.h"
#include "scene.h"

namespace dualvm::scene {

namespace {

constexpr Scene kLong = {CpuMode::Long64, 0, Paging::FourLevel, Handlers::Halt};
constexpr Scene kFlat = {CpuMode::Protected32, 0, Paging::Off, Handlers::Halt};

constexpr int kUd = 6;

class Found : public ::testing::Test {
protected:
    void begin(const Scene& scene, u64 block_cache_bytes = u64{1} << 20) {
        engine_.reset();
        machine_ = std::move(*Machine::create({.memory_mebibytes = kMemoryMebibytes}));
        lay_out(machine_->vmem(), scene);
        machine_->cpu() = first_state(scene);
        engine_ = make_interpreter(*machine_, {.block_cache_bytes = block_cache_bytes, .without = {}});
    }
    // Runs `code` from kCode on and returns the vector of the first exception, -1 if all of it was executed.
    int run(const std::vector<u8>& code, u64 instructions) {
        EXPECT_TRUE(machine_->vmem().write(kCode, code.data(), code.size()));
        engine_->push(Groups::All);
        (void)engine_->run({.instructions = instructions});
        engine_->pull(Groups::All);
        const u64 rip = cpu().general.rip;
        return rip >= kHandlers && rip < kHandlers + 0x1000 ? static_cast<int>((rip - kHandlers) / kHandlerBytes) : -1;
    }
    CpuFile& cpu() { return machine_->cpu(); }

    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Engine> engine_;
};

// Images of 108 and 512 bytes once went through a buffer of 64.
TEST_F(Found, StateImagesMayBeStoredWhereThereIsNoRam) {
    for (const std::vector<u8>& store : {std::vector<u8>{0xdd, 0x30}, {0x0f, 0xae, 0x00}}) {  // FNSAVE, FXSAVE [eax]
        begin(kFlat);
        cpu().general.gpr[RAX] = 0x80000000;
        EXPECT_EQ(run(store, 1), -1);
        EXPECT_EQ(cpu().general.rip, kCode + store.size());
    }
}

// PSHUFD and PSHUFLW of 8 x 8 registers with 256 immediates are more than there is room for routines.
TEST_F(Found, AnyNumberOfDifferentSseInstructionsCanBeExecuted) {
    begin(kLong);
    constexpr unsigned kAtOnce = 1024;
    for (u8 prefix : {u8{0x66}, u8{0xf2}}) {
        for (unsigned first = 0; first < 64 * 256; first += kAtOnce) {
            std::vector<u8> code;
            for (unsigned i = first; i < first + kAtOnce; ++i)
                code.insert(code.end(), {prefix, 0x0f, 0x70, static_cast<u8>(0xc0 | i >> 8), static_cast<u8>(i)});
            cpu().general.rip = kCode;
            ASSERT_EQ(run(code, kAtOnce), -1) << "from number " << first;
            ASSERT_EQ(cpu().general.rip, kCode + code.size());
        }
    }
}

// A branch wanted a link to a block for which the cache was emptied, and the branch with it.
TEST_F(Found, NoLinkIsMadeFromABlockThatWasForgotten) {
    constexpr u64 kOneBlock = 1;  // the least there is
    begin(kLong, kOneBlock);
    // INC EAX; JMP +0; INC EAX; JMP +0; UD2
    EXPECT_EQ(run({0xff, 0xc0, 0xeb, 0x00, 0xff, 0xc0, 0xeb, 0x00, 0x0f, 0x0b}, 100), kUd);
    EXPECT_EQ(cpu().general.gpr[RAX], 2u);
}

TEST_F(Found, FisttpNeedsNoSse) {
    begin(kFlat);
    cpu().control.cr4 = 0;
    cpu().fpu.fcw = 0x37f;  // as FNINIT leaves it: all masked, all empty
    cpu().fpu.ftw = 0;
    cpu().general.gpr[RAX] = kData;
    EXPECT_EQ(run({0xd9, 0xe8, 0xdb, 0x08}, 2), -1);  // FLD1; FISTTP dword [eax]
    u32 stored = 0;
    EXPECT_TRUE(machine_->vmem().read_value(kData, stored));
    EXPECT_EQ(stored, 1u);
    EXPECT_EQ(cpu().fpu.fip, kCode + 2);
}

// The x87 pointers are the guest's, and say nothing of where routines lie in the host.
TEST_F(Found, ControlInstructionsLeaveTheX87PointersAlone) {
    begin(kFlat);
    cpu().fpu.fip = 0x1234;
    cpu().fpu.fdp = 0x5678;
    EXPECT_EQ(run({0xdf, 0xe0, 0x0f, 0x77}, 2), -1);  // FNSTSW AX; EMMS
    EXPECT_EQ(cpu().fpu.fip, 0x1234u);
    EXPECT_EQ(cpu().fpu.fdp, 0x5678u);
}

// The state of a triple fault ends with the RESET that a push brings.
TEST_F(Found, AnEngineRunsAgainAfterAShutdown) {
    begin(kFlat);
    cpu().segments.idtr.limit = 0;
    ASSERT_TRUE(machine_->vmem().write_value(kCode, u16{0x0b0f}));  // UD2
    engine_->push(Groups::All);
    EXPECT_EQ(engine_->run({.instructions = 10}).kind, ExitKind::Shutdown);
    machine_->cpu() = first_state(kFlat);
    EXPECT_EQ(run({0x90, 0x90}, 2), -1);
    EXPECT_EQ(cpu().general.rip, kCode + 2);
}

}  // namespace

}  // namespace dualvm::scene
