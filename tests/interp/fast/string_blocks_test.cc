// REP MOVS and REP STOS that the interpreter moves as blocks, SCAS and CMPS that it compares in one go: the same as
// element by element, whatever the pages are.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "dualvm/interp/interpreter.h"
#include "dualvm/run_loop.h"
#include "flat_machine.h"

namespace dualvm {
namespace {

using Code = std::vector<u8>;

constexpr u64 kCode = 0x200000, kSource = 0x300000, kTable = 0x14000;
// 2 MiB of which `scatter` maps the pages in reverse order, so that none lies behind the one before in the host.
constexpr u64 kScattered = 0x600000, kFrames = 0x400000;

class StringBlocks : public ::testing::Test {
protected:
    std::unique_ptr<Machine> machine;
    u64 instructions = 0;
    std::string ending = "halted";

    void SetUp() override { begin(); }
    void begin() {
        machine = std::move(*Machine::create({.memory_mebibytes = 8}));
        set_up_flat(*machine, /*long_mode=*/true);
        std::vector<u8> bytes(0x80000);
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(i * 7 + i / 251);
        ASSERT_TRUE(machine->vmem().write(kSource, bytes.data(), bytes.size()));
    }
    void scatter() {
        for (u64 i = 0; i < 512; ++i) {
            ASSERT_TRUE(machine->vmem().write_value(kTable + 8 * i, (kFrames + (511 - i) * kPageSize) | 3));
        }
        ASSERT_TRUE(machine->vmem().write_value(kFlatDirectory + 3 * 8, kTable | 3));
    }
    // Runs `code` to its HLT, with these registers at its beginning.
    void run(const Code& code, u64 source, u64 destination, u64 count, std::vector<std::string> without = {}) {
        CpuFile& cpu = machine->cpu();
        cpu.general.rip = kCode;
        cpu.general.rflags = rflags::Fixed1;
        cpu.general.gpr[RSP] = 0x2f0000;
        cpu.general.gpr[RSI] = source;
        cpu.general.gpr[RDI] = destination;
        cpu.general.gpr[RCX] = count;
        ASSERT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
        auto engine = make_interpreter(*machine, {.block_cache_bytes = u64{1} << 20, .without = std::move(without)});
        EXPECT_EQ(run_loop(*machine, *engine, {.max_instructions = 1'000'000}, {}).reason, ending);
        engine->pull(Groups::All);
        instructions = engine->instructions();
    }
    std::vector<u8> physical(u64 address, u64 size) const {
        std::vector<u8> bytes(size);
        EXPECT_TRUE(machine->vmem().read(address, bytes.data(), size));
        return bytes;
    }
    // What lies at kScattered + offset after scatter().
    std::vector<u8> scattered(u64 offset, u64 size) const {
        std::vector<u8> bytes;
        for (u64 i = offset; i < offset + size; ++i) {
            bytes.push_back(physical(kFrames + (511 - i / kPageSize) * kPageSize + i % kPageSize, 1)[0]);
        }
        return bytes;
    }
    // `code` leaves the same registers, flags and count of instructions with and without blocks.
    void expect_no_difference(const Code& code, u64 source, u64 destination, u64 count) {
        const CpuFile before = machine->cpu();
        run(code, source, destination, count);
        const CpuFile with = machine->cpu();
        const u64 instructions_with = instructions;
        machine->cpu() = before;
        run(code, source, destination, count, {"strings"});
        EXPECT_EQ(differences(with, machine->cpu(), Groups::All), "");
        EXPECT_EQ(instructions_with, instructions);
        machine->cpu() = before;
    }
    u64 gpr(Gpr reg) const { return machine->cpu().general.gpr[reg]; }
};

const Code kMovsb = {0xf3, 0xa4, 0xf4}, kMovsq = {0xf3, 0x48, 0xa5, 0xf4}, kStosq = {0xf3, 0x48, 0xab, 0xf4};

TEST_F(StringBlocks, ACopyGoesOnOverPagesThatLieAnywhere) {
    scatter();
    constexpr u64 kBytes = 100'003;  // more than is done at once
    run(kMovsb, kSource + 5, kScattered + 3001, kBytes);
    EXPECT_EQ(scattered(3001, kBytes), physical(kSource + 5, kBytes));
    EXPECT_EQ(gpr(RCX), 0u);
    EXPECT_EQ(gpr(RSI), kSource + 5 + kBytes);
    EXPECT_EQ(gpr(RDI), kScattered + 3001 + kBytes);
    EXPECT_EQ(scattered(3000, 1)[0], 0);
    EXPECT_EQ(scattered(3001 + kBytes, 1)[0], 0);
}

TEST_F(StringBlocks, ElementsMayLieAcrossPages) {
    scatter();
    run(kMovsq, kSource + 1, kScattered + 4093, 4096);
    EXPECT_EQ(scattered(4093, 8 * 4096), physical(kSource + 1, 8 * 4096));
}

TEST_F(StringBlocks, ACopyOntoItselfRepeatsWhatItWrote) {
    for (u64 distance : {1, 2, 7, 8, 9, 4096, 5000}) {
        SCOPED_TRACE(distance);
        begin();
        std::vector<u8> expected = physical(kSource, 20'000 + distance);
        for (std::size_t i = 0; i < 20'000; ++i) expected[i + distance] = expected[i];
        run(kMovsb, kSource, kSource + distance, 20'000);
        EXPECT_EQ(physical(kSource, expected.size()), expected);
    }
}

TEST_F(StringBlocks, ACopyDownwardsOntoItselfMoves) {
    std::vector<u8> expected = physical(kSource + 9, 20'000);
    run(kMovsb, kSource + 9, kSource, 20'000);
    EXPECT_EQ(physical(kSource, 20'000), expected);
}

TEST_F(StringBlocks, FillsWithEveryPattern) {
    for (u64 value : {u64{0}, u64{0x4141414141414141}, u64{0x4141414141414142}, u64{0x0123456789abcdef}}) {
        SCOPED_TRACE(value);
        begin();
        scatter();
        machine->cpu().general.gpr[RAX] = value;
        run(kStosq, 0, kScattered + 4, 10'000);
        std::vector<u8> expected(80'000);
        for (u64 i = 0; i < 10'000; ++i) std::memcpy(expected.data() + 8 * i, &value, 8);
        EXPECT_EQ(scattered(4, 80'000), expected);
    }
}

TEST_F(StringBlocks, CodeThatIsCopiedOverIsForgotten) {
    // call rbx (what is there returns 1); rep movsb; call rbx again: what was copied returns 2.
    const u64 function = 0x280000;
    const Code one = {0xb8, 1, 0, 0, 0, 0xc3}, two = {0xb8, 2, 0, 0, 0, 0xc3};
    ASSERT_TRUE(machine->vmem().write(function + 0x123, one.data(), one.size()));
    ASSERT_TRUE(machine->vmem().write(kSource + 0x123, two.data(), two.size()));
    machine->cpu().general.gpr[RBX] = function + 0x123;
    run({0xff, 0xd3, 0x89, 0xc2, 0xf3, 0xa4, 0xff, 0xd3, 0xf4}, kSource, function, 3 * kPageSize);
    EXPECT_EQ(gpr(RDX), 1u);
    EXPECT_EQ(gpr(RAX), 2u);
    EXPECT_EQ(physical(function, 3 * kPageSize), physical(kSource, 3 * kPageSize));
}

// A page that is written, executed, written again under another address, and executed: at no time may a store pass
// unseen.
TEST_F(StringBlocks, StoresToAPageWithTwoAddressesAreSeen) {
    ASSERT_TRUE(
        machine->vmem().write_value(kFlatDirectory + 3 * 8, u64{kFrames | 0x83}));  // kScattered: the same memory
    machine->cpu().general.gpr[RBX] = kFrames;
    machine->cpu().general.gpr[RBP] = kScattered;
    const Code return_1 = {0xb8, 1, 0, 0, 0, 0xc3};
    ASSERT_TRUE(machine->vmem().write(kFrames, return_1.data(), return_1.size()));
    run({0xc6, 0x43, 0x01, 0x02,         // mov byte [rbx+1], 2
         0xc6, 0x45, 0x01, 0x03,         // mov byte [rbp+1], 3: both may be stored to without being looked at
         0xff, 0xd3, 0x89, 0xc2,         // call rbx; mov edx, eax: now the page holds code
         0xc6, 0x43, 0x01, 0x04,         // mov byte [rbx+1], 4
         0xff, 0xd3, 0x89, 0xc6,         // call rbx; mov esi, eax
         0xc6, 0x45, 0x01, 0x05,         // mov byte [rbp+1], 5
         0xff, 0xd3, 0x89, 0xc7, 0xf4},  // call rbx; mov edi, eax
        0, 0, 0);
    EXPECT_EQ(gpr(RDX), 3u);
    EXPECT_EQ(gpr(RSI), 4u);
    EXPECT_EQ(gpr(RDI), 5u);
}

// SCAS and CMPS of every size, REPE and REPNE, upwards and downwards, with and without an element that ends them.
TEST_F(StringBlocks, ComparisonsEndWhereTheyEndElementByElement) {
    scatter();
    std::mt19937_64 random(4711);
    auto below = [&](u64 n) { return random() % n; };
    for (unsigned i = 0; i < 400; ++i) {
        const bool scas = below(2) != 0, wide = below(4) == 0, bytes = !wide && below(2) == 0, down = below(8) == 0;
        Code code;
        code.push_back(down ? 0xfd : 0xfc);  // STD, CLD
        code.push_back(0x3d);                // CMP EAX, imm32: flags of its own
        for (unsigned b = 0; b < 4; ++b) code.push_back(static_cast<u8>(random()));
        if (!wide && !bytes && below(2) == 0) code.push_back(0x66);
        code.push_back(below(2) == 0 ? 0xf2 : 0xf3);
        if (wide) code.push_back(0x48);
        code.push_back(static_cast<u8>((scas ? 0xae : 0xa6) + (bytes ? 0 : 1)));
        code.push_back(0xf4);
        // Two areas of equal bytes, over pages; in one of them a byte is different.
        const u64 length = 1 + below(3 * kPageSize), source = kSource + below(64), destination = kScattered + below(64);
        const u8 fill = static_cast<u8>(below(3) == 0 ? 0 : random());
        machine->cpu().general.gpr[RAX] = fill * 0x0101010101010101u;
        for (u64 at = 0; at < length + 16; ++at) {
            ASSERT_TRUE(machine->vmem().write_value(source + at, fill));
            const u64 to = destination - kScattered + at;
            ASSERT_TRUE(
                machine->vmem().write_value(kFrames + (511 - to / kPageSize) * kPageSize + to % kPageSize,
                                            static_cast<u8>(fill ^ (at == length / 2 && below(3) != 0 ? 0x80 : 0))));
        }
        const u64 back = down ? length - 1 : 0;
        expect_no_difference(code, source + back, destination + back, below(8) == 0 ? 0 : length / (bytes ? 1 : 2));
        if (HasFailure()) {
            ADD_FAILURE() << "case " << i;
            return;
        }
    }
}

TEST_F(StringBlocks, AComparisonThatFaultsLeavesTheFlagsOfBefore) {
    scatter();
    ASSERT_TRUE(machine->vmem().write_value(kTable + 8 * 2, u64{0}));  // the third page is not there
    std::vector<u8> zeros(3 * kPageSize);
    ASSERT_TRUE(machine->vmem().write(kSource, zeros.data(), zeros.size()));
    for (u64 page = 0; page < 2; ++page) {
        ASSERT_TRUE(machine->vmem().write(kFrames + (511 - page) * kPageSize, zeros.data(), kPageSize));
    }
    machine->cpu().general.gpr[RAX] = 0;
    ending = "triple-fault";
    for (const u8 operation : {u8{0xa6}, u8{0xae}}) {
        const Code code = {0x83, 0xf8, 0xff, 0xf3, operation, 0xf4};  // CMP EAX, -1; REPE CMPSB or SCASB
        expect_no_difference(code, kSource + 5, kScattered + 5, 3 * kPageSize);
    }
}

TEST_F(StringBlocks, VirtualTimeIsTheSameWithoutBlocks) {
    for (const Code& code : {kMovsb, kMovsq, kStosq}) {
        std::vector<u64> counts;
        for (const std::vector<std::string>& without : {std::vector<std::string>{}, {"strings"}, {"tlb"}}) {
            begin();
            scatter();
            run(code, kSource + 11, kScattered + 7, 20'000, without);
            counts.push_back(instructions);
        }
        EXPECT_EQ(counts[0], counts[1]);
        EXPECT_EQ(counts[0], counts[2]);
    }
}

}  // namespace
}  // namespace dualvm
