// A bug planted in the implementation of one instruction is found and shrunk to that instruction.
//
// The planted engine runs the interpreter step by step and spoils one instruction: what it reads, before its step, or
// what it wrote, after it. So it is wrong in sequences as a handler with that bug would be.
#include <Zydis/Zydis.h>

#include "dualvm/study/fuzz.h"
#include "runners.h"

namespace dualvm::study {
namespace {

// What is wrong with an instruction.
struct Plant {
    ZydisMnemonic mnemonic;
    std::function<void(const ZydisDecodedInstruction&, CpuFile&)> before;
    std::function<void(const CpuFile& before, CpuFile& after)> after;
};

class PlantedEngine final : public Engine {
public:
    PlantedEngine(Machine& machine, Plant plant) : machine_(machine), plant_(std::move(plant)) {
        inner_ = make_interpreter(machine);
        ZydisDecoderInit(&decoder64_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        ZydisDecoderInit(&decoder32_, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
    }
    const char* name() const override { return "planted"; }
    Capabilities capabilities() const override { return inner_->capabilities(); }
    TriedCapabilities tried_capabilities() const override { return inner_->tried_capabilities(); }
    void kick() override { inner_->kick(); }
    void pull(Groups groups) override { inner_->pull(groups); }
    void push(Groups groups) override { inner_->push(groups); }
    u64 instructions() const override { return inner_->instructions(); }
    EngineStatistics statistics() const override { return inner_->statistics(); }

    Exit run(const Budget& budget) override {
        constexpr Groups kGroups = Groups::General | Groups::Fpu;
        for (u64 i = 0; i < budget.instructions; ++i) {
            inner_->pull(kGroups | Groups::Segments);
            CpuFile& cpu = machine_.cpu();
            ZydisDecodedInstruction insn;
            const bool planted = decode(cpu, insn) && insn.mnemonic == plant_.mnemonic;
            const CpuFile before = cpu;
            if (planted && plant_.before) {
                plant_.before(insn, cpu);
                inner_->push(kGroups);
            }
            Exit exit = inner_->run({.instructions = 1});
            if (planted) {
                inner_->pull(kGroups);
                const bool done = cpu.general.rip == before.general.rip + insn.length;
                if (done && plant_.after) plant_.after(before, cpu);
                inner_->push(kGroups);
            }
            if (exit.kind != ExitKind::SingleStep) return exit;
        }
        Exit exit;
        exit.kind = ExitKind::BudgetUsed;
        return exit;
    }

private:
    // The instruction at RIP, if that is in the case's page of code: the world's own is left alone.
    bool decode(const CpuFile& cpu, ZydisDecodedInstruction& insn) {
        const u64 at = cpu.general.rip - ring3::kCode;
        if (at >= ring3::kCodeBytes) return false;
        std::array<u8, 15> bytes{};
        const u64 size = std::min<u64>(bytes.size(), ring3::kCodeBytes - at);
        constexpr u64 kCodePage = 0x10000;  // where ring3_world.h has it
        machine_.vmem().read(kCodePage + at, bytes.data(), size);
        const ZydisDecoder& decoder = cpu.segments.seg[CS].has(Segment::L) ? decoder64_ : decoder32_;
        return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, bytes.data(), size, &insn));
    }

    Machine& machine_;
    Plant plant_;
    std::unique_ptr<Engine> inner_;
    ZydisDecoder decoder64_{}, decoder32_{};
};

class PlantedBugs : public ::testing::Test {
protected:
    // Finds it within 100,000 cases of everything, and shrinks it to one instruction of that name.
    void expect_found(const Plant& plant, const char* mnemonic) {
        if (auto oracle = native(); !oracle) GTEST_SKIP() << oracle.error().text;
        FuzzSubjects subjects;
        subjects.oracle = [] { return native(); };
        subjects.tested = {[&plant] {
            return as_runner(
                EngineRunner::create("planted", [&plant](Machine& machine) -> Expected<std::unique_ptr<Engine>> {
                    return std::make_unique<PlantedEngine>(machine, plant);
                }));
        }};
        FuzzOptions options;
        options.cases = 100'000;
        options.seed = 1;
        options.most_findings = 1;
        const auto report = fuzz(CpuModel::standard(), options, subjects);
        ASSERT_TRUE(report) << report.error().text;
        ASSERT_EQ(report->findings.size(), 1u);
        const Finding& found = report->findings.front();
        ZydisDecoder decoder;
        ZydisDecoderInit(&decoder,
                         found.smallest.long_mode() ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                         found.smallest.long_mode() ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
        ZydisDecodedInstruction insn;
        const auto& code = found.smallest.code;
        ASSERT_TRUE(ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, code.data(), code.size(), &insn)));
        EXPECT_STREQ(ZydisMnemonicGetString(insn.mnemonic), mnemonic) << found.explanation;
        EXPECT_EQ(insn.length, code.size()) << found.explanation;
        EXPECT_EQ(report->status(), 14);
    }
};

TEST_F(PlantedBugs, AFlag) {
    expect_found({.mnemonic = ZYDIS_MNEMONIC_SBB,
                  .before = {},
                  .after =
                      [](const CpuFile&, CpuFile& cpu) {
                          if ((cpu.general.rflags & rflags::CF) != 0) cpu.general.rflags ^= rflags::AF;
                      }},
                 "sbb");
}
TEST_F(PlantedBugs, AShiftCountMask) {
    // The count of a 64-bit shift has six bits, not five.
    expect_found({.mnemonic = ZYDIS_MNEMONIC_SAR,
                  .before =
                      [](const ZydisDecodedInstruction& insn, CpuFile& cpu) {
                          if (insn.operand_width == 64) cpu.general.gpr[RCX] &= ~u64{0x20};
                      },
                  .after =
                      [](const CpuFile& before, CpuFile& cpu) {
                          if (cpu.general.gpr[RCX] == (before.general.gpr[RCX] & ~u64{0x20})) {
                              cpu.general.gpr[RCX] = before.general.gpr[RCX];
                          }
                      }},
                 "sar");
}
TEST_F(PlantedBugs, ARoundingMode) {
    constexpr u32 kRounding = 3u << 13;
    expect_found(
        {.mnemonic = ZYDIS_MNEMONIC_MULSD,
         .before = [](const ZydisDecodedInstruction&, CpuFile& cpu) { cpu.fpu.mxcsr &= ~kRounding; },
         .after = [](const CpuFile& before,
                     CpuFile& cpu) { cpu.fpu.mxcsr = (cpu.fpu.mxcsr & ~kRounding) | (before.fpu.mxcsr & kRounding); }},
        "mulsd");
}

}  // namespace
}  // namespace dualvm::study
